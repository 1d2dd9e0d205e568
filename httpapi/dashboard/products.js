// The products: how their stock drains, and for an admin what can be done about it.

import { big, clock, count, element, find, percent, put, rate, span } from "./format.js";

const trail = 60; // points of a sparkline, a second each
const armedMs = 5000; // within which a sale that is to be closed must be closed again
const sellOutSoon = 3600; // seconds within which it is worth saying when

const rows = new Map(); // id -> row
let admin = null; // what signs changes, if anybody has signed in
let order = "";
let note = "Waiting for the first figures.";
let all = 0; // products that there are, where not all are listed; 0 = not known yet
let unknown = ""; // why what is shown is old, if it is
let aheadMs = 0; // the server's clock, of this screen's, which decides nothing

export function setAdmin(change) {
  admin = change;
  document.body.classList.toggle("admin", admin !== null);
}

// stateOf says in words how the sale of a product is.
function stateOf(p, now) {
  if (p.currentStock === 0 && p.heldStock === 0) return ["sold out", "out"];
  if (!p.flashSaleActive) return ["closed", "closed"];
  const starts = p.startsAt ? Date.parse(p.startsAt) : 0;
  if (starts > now) return ["starts in " + span((starts - now) / 1000), "soon"];
  if (p.endsAt && Date.parse(p.endsAt) <= now) return ["ended", "closed"];
  if (p.currentStock === 0) return ["all held", "held"];
  return ["on sale", "on"];
}

// showProducts takes whole products, which come now and then; showLevels takes their stock, every second.
export function showProducts({ products, complete }) {
  const ids = products.map((p) => p.id);
  for (const p of products) {
    const row = rows.get(p.id) || makeRow(p.id);
    row.product = { ...row.product, ...p };
    showRow(row);
  }
  for (const id of rows.keys()) {
    if (!ids.includes(id)) {
      rows.get(id).node.remove();
      rows.delete(id);
    }
  }
  if (order !== ids.join()) {
    order = ids.join();
    find("products").append(...ids.map((id) => rows.get(id).node));
  }
  const of = all > ids.length ? ` of ${count(all)}` : "";
  note = ids.length === 0 ? "There are no products yet: POST /inventory makes one, flashsale products import many." : complete ? "" : `The first ${ids.length}${of} products by id are shown, and looked through by Find.`;
  put(find("products-note"), unknown || note);
  filter();
}

// setTime takes what time it is where the figures come from.
export const setTime = (timestamp) => (aheadMs = Date.parse(timestamp) - Date.now());

// setAll takes how many products there are.
export const setAll = (n) => (all = n);

// setKnown says where nobody knows the stock, since when: what was known last stays, and is not taken for the present.
export function setKnown(known, since) {
  const from = since === null ? "" : ` What stands here is of ${clock(since)}.`;
  unknown = known ? "" : `What is left is not known just now.${from}`;
  find("stock").classList.toggle("unknown", !known);
  put(find("products-note"), unknown || note);
}

export function showLevels(levels, at) {
  for (const level of levels) {
    const row = rows.get(level.productId);
    if (!row) continue;
    Object.assign(row.product, level);
    row.trail.push([at, level.currentStock]);
    if (row.trail.length > trail) row.trail.shift();
    showRow(row);
  }
}

export function filter() {
  const words = find("find").value.trim().toLowerCase();
  for (const { node, product } of rows.values()) {
    node.hidden = words !== "" && !`${product.id} ${product.name}`.toLowerCase().includes(words);
  }
}

function share(bar, part, whole) {
  bar.style.width = whole > 0 ? `${(100 * part) / whole}%` : "0";
}

// pace is how many units a second went off over the trail.
function pace(points) {
  if (points.length < 5) return 0;
  const [from, to] = [points[Math.max(0, points.length - 11)], points[points.length - 1]];
  return to[0] > from[0] ? (from[1] - to[1]) / (to[0] - from[0]) : 0;
}

function showRow(row) {
  const p = row.product;
  const [words, kind] = stateOf(p, Date.now() + aheadMs);
  put(row.name, p.name || p.id);
  put(row.id, p.id);
  put(row.state, words);
  row.state.className = "state " + kind;
  row.node.dataset.state = kind;
  put(row.left, big(p.currentStock));
  row.left.title = count(p.currentStock);
  share(row.soldBar, p.soldStock, p.initialStock);
  share(row.heldBar, p.heldStock, p.initialStock);
  const heldShare = p.initialStock > 0 && p.heldStock > 0 ? ` (${percent(p.heldStock / p.initialStock)} %)` : "";
  put(row.counts, `${count(p.soldStock)} sold · ${count(p.heldStock)} held${heldShare} · of ${count(p.initialStock)}`);
  const perSecond = pace(row.trail);
  const left = perSecond > 0 ? p.currentStock / perSecond : Infinity;
  put(row.pace, perSecond <= 0 || p.currentStock === 0 ? "" : `−${rate(perSecond)}/s` + (left < sellOutSoon ? ` · gone in ${span(left)}` : ""));
  drawTrail(row);
  showToggle(row);
}

// isArmed tells whether the button was pressed a moment ago: one press too many must not close a sale.
const isArmed = (row) => Date.now() - row.armedAt < armedMs;

function showToggle(row) {
  const armed = row.product.flashSaleActive && isArmed(row);
  put(row.toggle, armed ? "Press again to close" : row.product.flashSaleActive ? "Close sale" : "Open sale");
  row.toggle.className = armed ? "armed" : "";
}

function drawTrail(row) {
  const points = row.trail;
  if (points.length < 2) return;
  const from = points[0][0];
  const width = Math.max(1, points[points.length - 1][0] - from);
  const most = Math.max(1, ...points.map((q) => q[1]));
  const least = Math.min(...points.map((q) => q[1]));
  const low = least > most * 0.8 ? least - (most - least) * 0.2 - 1 : 0; // a big stock that drains slowly still shows a slope
  const text = points.map(([x, y]) => `${((100 * (x - from)) / width).toFixed(1)},${(30 - (28 * (y - low)) / (most - low)).toFixed(1)}`).join(" ");
  row.line.setAttribute("points", text);
}

function makeRow(id) {
  const row = { product: { id }, trail: [], armedAt: 0, node: element("li", "product") };
  row.node.dataset.id = id;
  row.name = element("span", "name");
  row.id = element("span", "id quiet");
  row.state = element("span", "state");
  row.left = element("b", "units");
  row.pace = element("span", "pace");
  row.counts = element("span", "counts quiet");
  const bar = element("div", "bar");
  bar.append((row.soldBar = element("i", "sold")), (row.heldBar = element("i", "held")));
  const spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  spark.setAttribute("viewBox", "0 0 100 32");
  spark.setAttribute("preserveAspectRatio", "none");
  spark.setAttribute("class", "spark");
  spark.setAttribute("aria-hidden", "true");
  row.line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  spark.append(row.line);
  const title = element("div", "title");
  title.append(row.name, row.id);
  const amount = element("div", "amount");
  amount.append(row.left, element("span", "quiet", "left"));
  const below = element("div", "below");
  below.append(row.counts, row.pace);
  row.node.append(title, row.state, spark, amount, bar, below, controls(row));
  rows.set(id, row);
  return row;
}

// controls are what an admin sees.
function controls(row) {
  const box = element("form", "controls");
  row.toggle = element("button", "", "");
  row.toggle.type = "button";
  row.toggle.addEventListener("click", () => {
    const open = !row.product.flashSaleActive;
    if (!open && !isArmed(row)) {
      row.armedAt = Date.now();
      showToggle(row);
      setTimeout(showToggle, armedMs, row);
      return;
    }
    row.armedAt = 0;
    act(row, { flashSaleActive: open, reason: "dashboard" }, (p) => `The sale of ${p.name} is ${open ? "open" : "closed"}.`, true);
  });
  const label = element("label");
  const units = element("input");
  units.type = "number";
  units.step = "1";
  units.required = true;
  units.placeholder = "units, ±";
  label.append(element("span", "hidden", "Units to add, or to take away with a minus"), units);
  const add = element("button", "", "Change stock");
  box.append(row.toggle, label, add);
  box.addEventListener("submit", (event) => {
    event.preventDefault();
    const n = Math.trunc(Number(units.value));
    if (!n) return;
    act(row, { adjustStock: n, reason: "dashboard" }, (p) => `${p.name} has ${count(p.currentStock)} left now.`, false);
    units.value = "";
  });
  return box;
}

async function act(row, change, told, guarded) {
  if (!admin) return;
  const changed = await admin(row.product, change, told, guarded);
  if (changed) {
    row.product = { ...row.product, ...changed };
    showRow(row);
  }
}
