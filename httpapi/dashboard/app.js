// The live page: what the stream says, shown. Nothing is made up: while nothing comes, the page says since when.

import { big, clock, count, find, percent, put, rate, seconds, some, span } from "./format.js";
import { connect } from "./connection.js";
import { Chart } from "./charts.js";
import { filter, setAdmin, setAll, setKnown, setTime, showLevels, showProducts } from "./products.js";
import { showHealth, showProblems, showRefusals } from "./system.js";
import { change, signIn, signOut, toast } from "./admin.js";
import { applyTheme, onThemeChange, toggleTheme } from "./theme.js";

const adminButton = find("sign-in");
const isAdmin = () => document.body.classList.contains("admin");

const recentMs = 300_000; // of refusals that are counted
const slowWarn = 100; // ms of the p99, as docs/sale-day.md has it
const slowBad = 250; // from where on OrdersSlow alerts
const lagWarn = 1;
const lagBad = 10;
const totalsEveryMs = 5000; // where there are too many products to list

applyTheme();

const charts = [
  new Chart(find("c-orders"), [
    { label: "failed", color: "failed", format: rate },
    { label: "refused", color: "refused", format: rate },
    { label: "placed", color: "placed", fill: true, format: rate },
  ], { least: 10, whole: true, format: (n) => big(n) }),
  new Chart(find("c-latency"), [
    { label: "p99", color: "p99", format: rate },
    { label: "p95", color: "p95", format: rate },
    { label: "p50", color: "p50", fill: true, format: rate },
  ], { least: 5, format: rate }),
  new Chart(find("c-ledger"), [
    { label: "orders", color: "ledger", fill: true, format: count },
  ], { least: 10, whole: true, format: (n) => big(n) }),
];

// The counters only grow until somebody clears them: what happened is the difference of two updates.
let last = null;
const recent = []; // [when, code -> count] of the last minutes
const failureCodes = new Set();

const sum = (codes) => Object.values(codes).reduce((a, b) => a + b, 0);

function since(now, before) {
  const seconds = (Date.parse(now.timestamp) - Date.parse(before.timestamp)) / 1000;
  if (seconds <= 0 || now.countedSince !== before.countedSince) return null;
  const codes = new Map();
  for (const part of ["refusals", "failures"]) {
    for (const [code, n] of Object.entries(now[part])) {
      const more = n - (before[part][code] || 0);
      if (more > 0) codes.set(code, more);
      if (part === "failures") failureCodes.add(code);
    }
  }
  return {
    codes,
    placed: (now.successfulOrders - before.successfulOrders) / seconds,
    refused: (sum(now.refusals) - sum(before.refusals)) / seconds,
    failed: (now.failedOrders - before.failedOrders) / seconds,
  };
}

function tone(id, bad, warn) {
  find(id).closest(".tile").className = "tile" + (bad ? " bad" : warn ? " warn" : "");
}

function showTiles(m, went) {
  put(find("t-placed"), rate(went ? Math.max(0, went.placed) : m.ordersPerSecond));
  put(find("t-total"), `${count(m.successfulOrders)} since ${clock(m.countedSince)}`);
  put(find("t-refused"), rate(went ? went.refused : 0));
  put(find("t-refused-total"), `${count(sum(m.refusals))} in all`);
  put(find("t-errors"), percent(m.errorRate));
  put(find("t-failed-total"), `of requests; ${count(m.failedOrders)} in all`);
  tone("t-errors", m.errorRate > 0.01, m.errorRate > 0);
  put(find("t-p99"), rate(m.p99Latency));
  tone("t-p99", m.p99Latency > slowBad, m.p99Latency > slowWarn);
  put(find("t-p50"), m.p50Latency === null ? "no orders just now" : `half within ${rate(m.p50Latency)} ms`);
  put(find("t-lag"), seconds(m.ledger.lagSeconds));
  put(find("t-lag-orders"), `${some(m.ledger.lagOrders, "order")} waiting`);
  tone("t-lag", m.ledger.lagSeconds > lagBad, m.ledger.lagSeconds > lagWarn);
}

let levelsAt = null; // when the stock was known last
let totalsAsked = 0;

// showStock shows what is left of each product and of all. Where Redis or the ledger does not say, it says so.
function showStock(m, at) {
  setKnown(m.inventoryLevels !== null, levelsAt);
  if (m.inventoryLevels === null) {
    put(find("t-left"), "?");
    put(find("t-sold"), levelsAt === null ? "nobody knows just now" : `not known since ${clock(levelsAt)}`);
    return;
  }
  levelsAt = m.timestamp;
  showLevels(m.inventoryLevels, at);
  if (!m.inventoryLevelsComplete) {
    if (Date.now() - totalsAsked > totalsEveryMs) {
      totalsAsked = Date.now();
      stream.send("fetch-inventory-metrics");
    }
    return;
  }
  const total = (member) => m.inventoryLevels.reduce((a, l) => a + l[member], 0);
  put(find("t-left"), big(total("currentStock")));
  put(find("t-sold"), `${big(total("soldStock"))} sold, ${big(total("heldStock"))} held`);
}

// showTotals takes the sums over all products, where only the first of them are listed.
function showTotals(t) {
  setAll(t.totalProducts);
  if (last && last.inventoryLevels === null) return;
  put(find("t-left"), big(t.totalCurrentStock));
  put(find("t-sold"), `of ${big(t.totalInitialStock)}; ${some(t.totalProducts, "product")}`);
}

function showMetrics(m) {
  if (last && m.timestamp === last.timestamp) return;
  const at = Date.parse(m.timestamp) / 1000;
  const went = last && since(m, last);
  last = m;
  setTime(m.timestamp);
  showTiles(m, went);
  if (went) {
    charts[0].add(at, [went.failed, went.refused, Math.max(0, went.placed)]);
    recent.push([Date.now(), went.codes]);
  }
  charts[1].add(at, [m.p99Latency, m.p95Latency, m.p50Latency]);
  charts[2].add(at, [m.ledger.lagOrders]);
  showStock(m, at);
  while (recent.length && recent[0][0] < Date.now() - recentMs) recent.shift();
  const counts = new Map();
  for (const [, codes] of recent) for (const [code, n] of codes) counts.set(code, (counts.get(code) || 0) + n);
  showRefusals(counts, failureCodes);
}

const show = {
  "metrics-update": showMetrics,
  "fetch-inventory-updates": showProducts,
  "fetch-inventory-metrics": showTotals,
  "fetch-health": showHealth,
};

let lostAt = Date.now();
let link = "connecting"; // or live, lost, locked: a token is wanted
let asked = false; // for a token: whoever gave up is not asked again by itself

const linkWords = {
  connecting: () => "connecting…",
  live: () => "live",
  lost: () => `disconnected since ${clock(lostAt)} (${span((Date.now() - lostAt) / 1000)})`,
  locked: () => "signed out",
};

const tellLink = () => put(find("link-text"), linkWords[link]());
setInterval(tellLink, 1000);

function showStatus(words, tone) {
  put(find("status"), words);
  find("status").className = "pill " + tone;
}

function setLink(now) {
  if (link === "live" && now !== "live") {
    lostAt = Date.now();
    charts.forEach((c) => c.gap());
  }
  link = now;
  document.body.classList.toggle("stale", now !== "live");
  document.body.classList.toggle("locked", now === "locked");
  tellLink();
}

function opened() {
  setLink("live");
  asked = false;
  if (!isAdmin()) put(adminButton, "Admin");
  showStatus("checking", "");
  showProblems([]);
}

// closed says what the server says, and that no figures come, or that it says nothing.
function closed(health) {
  setLink("lost");
  if (health?.problems) {
    showHealth(health);
    if (health.problems.length === 0) showProblems(["This server answers, but sends no live figures just now: too many may be watching. Trying again…"]);
    return;
  }
  showStatus("no answer", "down");
  const what = last === null ? "This server does not answer. Trying again…" : `This server has not answered since ${clock(lostAt)}. What stands below is from then.`;
  showProblems([what]);
}

const whyToken = "These figures are shown to those who have a token with the scope monitor or admin.";
function refused() {
  setLink("locked");
  showStatus("sign in", "degraded");
  showProblems([`${whyToken} Press Sign in.`]);
  setAdmin(null);
  put(adminButton, "Sign in");
  if (asked) return;
  asked = true;
  signIn(whyToken, signedIn);
}

const stream = connect({
  open: opened,
  closed,
  message: (event, data) => show[event] && show[event](data),
  refused,
});
stream.ask("fetch-inventory-updates", 3000);
stream.ask("fetch-health", 2000);
stream.open();

function signedIn(scope) {
  if (scope === "admin") {
    setAdmin(change);
    put(adminButton, "Sign out");
  } else {
    toast("This token may look, not change.", false);
  }
  stream.again();
}

function adminClicked() {
  if (isAdmin()) {
    signOut();
    setAdmin(null);
    put(adminButton, "Admin");
    asked = true;
    stream.again();
    return;
  }
  signIn(link === "locked" ? whyToken : "An admin's token lets you change stock, and open and close sales.", signedIn);
}

function themeClicked() {
  toggleTheme();
  charts.forEach((c) => c.draw());
}

adminButton.addEventListener("click", adminClicked);
find("theme").addEventListener("click", themeClicked);
find("find").addEventListener("input", filter);
onThemeChange(() => charts.forEach((c) => c.draw()));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, dialog")) return;
  if (event.key === "t") themeClicked();
  if (event.key === "a") adminClicked();
  if (event.key === "/") {
    event.preventDefault();
    find("find").focus();
  }
});
