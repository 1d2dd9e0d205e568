// What the sale stands on: the stores, the partitions, the last reconciliation; and why orders were turned away.

import { clock, count, element, find, put, seconds, span } from "./format.js";

const words = {
  sold_out: "sold out", limit_exceeded: "over the buyer's limit", duplicate_order: "ordered twice", sale_not_started: "too early",
  sale_ended: "too late", sale_inactive: "sale closed", invalid_request: "malformed", not_found: "unknown product",
  idempotency_conflict: "key used twice", rate_limited: "over the rate limit", overloaded: "overloaded", unavailable: "store away",
  partition_closed: "partition shut", outcome_unknown: "outcome unknown", internal: "internal error", unauthorized: "no token", forbidden: "not allowed",
};

const wordsFor = (code) => words[code] || code;

// showHealth shows what the server says of itself.
export function showHealth(health) {
  const status = find("status");
  put(status, health.status);
  status.className = "pill " + health.status;
  showProblems(health.problems, health.status === "degraded" && !health.ordersFail);
  put(find("version"), health.version);
  find("checks").replaceChildren(...health.checks.map(check));
  find("partitions").replaceChildren(...health.partitions.map(partition));
  showReconciliation(health.reconciliation, health.partitions.length > 0);
}

// showProblems says what is wrong, a line each, mildly where orders go on; a reader of the screen is told when it changes.
export function showProblems(problems, mild = false) {
  const box = find("problems");
  box.classList.toggle("mild", mild);
  box.hidden = problems.length === 0;
  if ([...box.children].map((p) => p.textContent).join() !== problems.join()) {
    box.replaceChildren(...problems.map((text) => element("p", "", text)));
  }
}

const names = { redis: "Redis", postgres: "Postgres" };

function check(c) {
  const li = element("li", c.status === "ok" ? "good" : "bad");
  li.append(element("i", "dot"), element("span", "name", names[c.name] || c.name), element("span", "gap"));
  li.append(element("b", "", c.status === "ok" ? "up" : "down"), element("span", "quiet", c.detail || `${c.latencyMs} ms`));
  return li;
}

function partition(p) {
  const li = element("li", p.open ? (p.reason ? "warn" : "good") : "bad");
  li.append(element("b", "", `P${p.partition}`), element("span", "state", p.open ? "open" : "shut"));
  li.append(element("span", "quiet", `epoch ${p.epoch} · ${count(p.backlog)} waiting`));
  if (p.reason) li.append(element("span", "reason", p.reason));
  li.title = `watermark ${count(p.watermark)}, ${count(p.queued)} queued, ${seconds(p.lagSeconds)} s behind`;
  return li;
}

export function showRefusals(counts, failures) {
  const sorted = [...counts].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).slice(0, 7);
  const most = sorted.length ? sorted[0][1] : 1;
  const list = find("refusals");
  if (sorted.length === 0) {
    list.replaceChildren(element("li", "quiet", "nobody was"));
    return;
  }
  list.replaceChildren(...sorted.map(([code, n]) => {
    const li = element("li", failures.has(code) ? "failed" : "");
    const bar = element("i");
    bar.style.width = `${Math.max(1, (100 * n) / most)}%`;
    const name = element("span", "", wordsFor(code));
    name.title = code;
    li.append(name, element("b", "", count(n)), bar);
    return li;
  }));
}

const reconcileOld = 86_400; // seconds, as in the alert

// showReconciliation says how the last one ended; a server that has not opened has not been told of any.
function showReconciliation(run, opened) {
  const box = find("reconcile");
  if (!run) {
    put(box, opened ? "There has been none yet: flashsale reconcile" : "not known just now");
    return;
  }
  const good = run.outcome === "clean";
  const old = run.ageSeconds > reconcileOld;
  const line = element("p", !good ? "bad" : old ? "warn" : "good");
  const drift = run.drift === 1 ? "1 difference" : `${count(run.drift)} differences`;
  line.append(element("i", "dot"), element("b", "", good ? "clean" : run.outcome === "drift" ? drift : "could not be finished"));
  const when = element("p", old ? "warn" : "quiet", `${span(run.ageSeconds)} ago, ${old ? run.finishedAt.slice(0, 10) : "at " + clock(run.finishedAt)}`);
  box.replaceChildren(line, when);
  if (!good) box.append(element("p", "quiet", `flashsale reconcile says ${run.outcome === "drift" ? "which" : "why"}`));
  if (run.repaired) box.append(element("p", "quiet", `${count(run.repaired)} repaired`));
}
