// A small shop for one person at a keyboard: press Buy, hold and pay, and see the order arrive on the dashboard.

const find = (id) => document.getElementById(id);
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2 });
const count = new Intl.NumberFormat("en");
const shown = 12; // products
const streams = 4; // of their stock: a browser has six connections to one host, and orders need some
const listEveryMs = 2000; // for the others, and for products that are new
const refusedWaitMs = 5000; // before a stream that was refused is asked for again
const holdSeconds = 60;
const fewLeft = 50;
const lookEveryMs = 300;
const toastMs = 6000;

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function button(text, className, act) {
  const b = element("button", className, text);
  b.type = "button";
  b.addEventListener("click", act);
  return b;
}

let toastTimer = 0;
function toast(text) {
  find("toast").textContent = text;
  find("toast").className = "shown";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (find("toast").className = ""), toastMs);
}

// Who buys: somebody new in each tab.
const names = ["ann", "bob", "carla", "dev", "eve", "femi", "gus", "hana", "ivan", "jo"];
let me = "";
function become() {
  me = `${names[Math.floor(Math.random() * names.length)]}-${Math.floor(Math.random() * 10_000)}`;
  find("me").textContent = me;
}
become();
find("other").addEventListener("click", become);

async function ask(method, path, body, more) {
  const answer = await fetch(path, {
    method, cache: "no-store", headers: { ...(body ? { "Content-Type": "application/json" } : {}), ...more }, body: body && JSON.stringify(body),
  }).catch(() => { throw new Error("the server does not answer"); }); // each browser has words of its own for that
  return { ok: answer.ok, status: answer.status, body: await answer.json() };
}

// The products, each with its stock as it changes.
const words = {
  sold_out: () => "Sold out", all_held: () => "All in others' baskets", ended: () => "The sale is over", inactive: () => "Not on sale",
  not_started: (s) => `Starts in ${s.secondsToStart} s`, on_sale: (s) => `${count.format(s.currentStock)} left`,
};

function card(p, index) {
  const li = element("li", "product");
  li.dataset.id = p.id;
  const picture = element("div", "picture", [...p.name][0].toUpperCase());
  const hue = [...p.id].reduce((h, c) => (h * 31 + c.codePointAt(0)) % 360, 7);
  picture.style.background = `linear-gradient(135deg, hsl(${hue} 60% 46%), hsl(${(hue + 50) % 360} 65% 34%))`;
  picture.setAttribute("aria-hidden", "true");
  const left = element("span", "left", "…");
  const buy = button("Buy", "primary buy", () => place(p, 0));
  const hold = button(`Hold ${holdSeconds} s`, "hold", () => place(p, holdSeconds));
  const buttons = element("div", "buttons");
  buttons.append(buy, hold);
  li.append(picture, element("span", "name", p.name), element("span", "price", money.format(p.price)), left, buttons);
  const tell = (s) => {
    left.textContent = words[s.state](s);
    left.className = "left" + (s.state === "on_sale" ? (s.currentStock <= fewLeft ? " few" : "") : " none");
    buy.disabled = hold.disabled = s.state !== "on_sale";
  };
  if (index < streams) return { li, stop: watchStock(p.id, left, tell), tell: () => {} };
  tell(stateOf(p));
  return { li, stop: () => {}, tell: (q) => tell(stateOf(q)) };
}

// stateOf says of a product in a list what its stream would.
function stateOf(p) {
  const starts = p.startsAt ? Date.parse(p.startsAt) - Date.now() : 0;
  const of = (state) => ({ state, currentStock: p.currentStock, secondsToStart: Math.ceil(starts / 1000) });
  if (p.currentStock === 0 && p.heldStock === 0) return of("sold_out");
  if (!p.flashSaleActive) return of("inactive");
  if (starts > 0) return of("not_started");
  if (p.endsAt && Date.parse(p.endsAt) <= Date.now()) return of("ended");
  return of(p.currentStock === 0 ? "all_held" : "on_sale");
}

// watchStock follows a product while somebody looks at the page, until what it returns is called.
function watchStock(id, left, tell) {
  let source = null;
  let over = false;
  function follow() {
    if (document.hidden || over) {
      source?.close();
      source = null;
      return;
    }
    if (source) return;
    source = new EventSource(`inventory/${encodeURIComponent(id)}/stream`);
    source.addEventListener("stock", ({ data }) => tell(JSON.parse(data)));
    const unknown = (words) => {
      left.textContent = words;
      left.className = "left";
    };
    source.addEventListener("unavailable", () => unknown("Nobody knows just now"));
    source.onerror = () => {
      unknown("Connecting…");
      if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
      source = null;
      setTimeout(follow, refusedWaitMs);
    };
  }
  document.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    over = true;
    document.removeEventListener("visibilitychange", follow);
    follow();
  };
}

let cards = [];
let listed = ""; // the names and prices that are shown

function showList(products) {
  const wanted = JSON.stringify(products.map((p) => [p.id, p.name, p.price]));
  if (wanted !== listed) {
    listed = wanted;
    cards.forEach((c) => c.stop());
    cards = products.map(card);
    find("products").replaceChildren(...cards.map((c) => c.li));
  }
  products.forEach((p, i) => cards[i].tell(p));
  find("note").textContent = products.length ? "" : "There are no products yet.";
}

async function list() {
  try {
    if (!document.hidden) {
      const { ok, body } = await ask("GET", `inventory?limit=${shown}`);
      if (!ok) throw new Error(body.detail);
      showList(body);
    }
  } catch (failure) {
    const why = failure.message.charAt(0).toUpperCase() + failure.message.slice(1);
    find("note").textContent = `${why}, so this list may be old. Trying again…`;
  }
  setTimeout(list, listEveryMs);
}

// An order, from the press of the button until the ledger has it.
async function place(product, hold) {
  const pressed = performance.now();
  const wanted = { productId: product.id, userId: me, quantity: 1, ...(hold ? { holdSeconds: hold } : {}) };
  try {
    const { ok, body } = await ask("POST", "orders", wanted, { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) });
    const ms = Math.round(performance.now() - pressed);
    if (!ok) {
      toast(`${product.name}: ${body.detail}`);
      return;
    }
    follow(product, body, ms);
  } catch {
    toast("No answer. Nobody knows whether the order was placed.");
  }
}

function follow(product, order, ms) {
  find("no-orders").hidden = true;
  const li = element("li", "order");
  const how = element("p", "how");
  const buttons = element("div", "buttons");
  const what = element("div", "what");
  what.append(element("span", "", product.name), element("span", "", money.format(product.price)));
  li.append(what, how, buttons, element("code", "", order.orderId));
  find("orders").prepend(li);
  const placed = performance.now();
  let seen = order;
  let answered = true; // the last look

  const pay = button("Pay", "primary pay", () => settle("confirm"));
  const giveBack = button("Give back", "give-back", () => settle("cancel"));

  // held says for how long, where anybody knows.
  function held() {
    const left = Math.ceil((Date.parse(seen.expiresAt) - Date.now()) / 1000);
    if (!answered) return `held until ${new Date(seen.expiresAt).toLocaleTimeString("en-GB")}, and nobody knows more just now`;
    return left > 0 ? `held for ${left} s more` : "held, and its time is up";
  }

  function show() {
    li.className = `order ${seen.status}${seen.durable ? " durable" : ""}`;
    const arrived = seen.durable ? " · in the ledger" : " · on its way to the ledger";
    if (seen.status === "pending") {
      how.textContent = held() + arrived;
    } else {
      how.textContent = `${seen.status}, answered in ${ms} ms${arrived}`;
    }
    const wanted = seen.status === "pending" ? [pay, giveBack] : seen.status === "confirmed" ? [giveBack] : [];
    if (buttons.children.length !== wanted.length) buttons.replaceChildren(...wanted);
  }

  async function settle(action) {
    try {
      const { ok, body } = await ask("POST", `orders/${order.orderId}/${action}`);
      if (!ok) toast(body.detail);
    } catch {
      toast("No answer. Pressing it again does no harm.");
    }
    await look();
  }

  async function look() {
    try {
      const { ok, body } = await ask("GET", `orders/${order.orderId}`);
      answered = ok;
      if (ok) seen = body;
    } catch {
      answered = false; // the next look may be
    }
    show();
  }

  async function watch() {
    await look();
    const done = seen.durable && seen.status !== "pending";
    if (!done || performance.now() - placed < 1000) setTimeout(watch, seen.durable ? 1000 : lookEveryMs);
  }
  show();
  watch();
}

list();
