"use strict";

// Shows what monitoring/health and inventory answered, each second. Nothing is computed that they do not say; when they
// do not answer, the page says so and greys out.

const pollMs = 1000;
const timeoutMs = 4000;
const page = 50;
const find = (id) => document.getElementById(id);
const number = new Intl.NumberFormat();

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// The token that somebody typed in. It lives as long as the tab, and nothing but this page's requests carries it.
const tokenKey = "flashsale-token";

function tokenHeader() {
  const token = sessionStorage.getItem(tokenKey);
  return token ? { Authorization: "Bearer " + token } : {};
}

find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(tokenKey, find("token").value.trim());
  find("token").value = "";
  find("sign-in").hidden = true;
});

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(timeoutMs), cache: "no-store", headers: tokenHeader() });
  if (answer.status === 401 || answer.status === 403) find("sign-in").hidden = false;
  return { answer, body: await answer.json() };
}

function showStatus(status, text) {
  const badge = find("status");
  badge.className = "badge " + status;
  badge.textContent = text;
}

function check(c) {
  const li = element("li");
  const row = element("div", "row");
  row.append(element("span", "name", c.name), element("span", c.status === "ok" ? "good" : "bad", c.status));
  li.append(row, element("div", "quiet", c.detail || `answered in ${c.latencyMs} ms`));
  return li;
}

function partition(p) {
  const tr = element("tr");
  const state = element("td", p.open ? "good" : "bad reason", p.open ? "open" : "shut: " + (p.reason || "no reason given"));
  tr.append(element("td", "", p.partition), state);
  for (const n of [p.epoch, p.queued, p.backlog, p.watermark]) tr.append(element("td", "n", number.format(n)));
  return tr;
}

function share(className, part, whole) {
  const e = element("span", className);
  e.style.width = whole > 0 ? `${(100 * part) / whole}%` : "0";
  return e;
}

function product(p) {
  const li = element("li");
  const head = element("div", "row");
  const sale = p.flashSaleActive ? "" : "sale switched off";
  head.append(element("span", "name", p.name), element("span", "quiet", p.id));
  const bar = element("div", "bar");
  bar.append(share("sold", p.soldStock, p.initialStock), share("held", p.heldStock, p.initialStock));
  const counts = `${number.format(p.currentStock)} left of ${number.format(p.initialStock)}`;
  const taken = `${number.format(p.soldStock)} sold · ${number.format(p.heldStock)} held`;
  const foot = element("div", "row");
  foot.append(element("span", "", counts), element("span", "bad", sale), element("span", "quiet", taken));
  li.append(head, bar, foot);
  return li;
}

async function showHealth() {
  const { body } = await ask("monitoring/health");
  if (!Array.isArray(body.checks)) throw new Error(body.detail || "no health report");
  showStatus(body.status, body.status);
  find("checks").replaceChildren(...body.checks.map(check));
  find("partitions").replaceChildren(...body.partitions.map(partition));
  find("updated").textContent = `${body.version} · ${new Date(body.timestamp).toLocaleTimeString()}`;
}

async function showProducts() {
  const note = find("products-note");
  const { answer, body } = await ask(`inventory?limit=${page}`);
  if (!answer.ok) {
    find("products").replaceChildren();
    note.textContent = `The stock can't be read: ${body.detail}`;
    return;
  }
  find("products").replaceChildren(...body.map(product));
  if (body.length === 0) note.textContent = "There are no products yet.";
  else note.textContent = answer.headers.has("Link") ? `The first ${page} products by id are shown.` : "";
}

async function poll() {
  try {
    await Promise.all([showHealth(), showProducts()]);
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
    showStatus("down", "no answer");
  }
  setTimeout(poll, pollMs);
}

poll();
