// How figures are written.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => whole.format(n);

// big writes what is read from afar: 1,234,567 units are 1.2M. It never says more than there is: 999,991 are 999.9K.
export function big(n) {
  if (Math.abs(n) < 100_000) return whole.format(n);
  const unit = [1e12, 1e9, 1e6, 1e3].find((u) => Math.abs(n) >= u);
  return short.format((Math.trunc((n * 10) / unit) * unit) / 10);
}

// rate writes a figure a second, or ms: one decimal below ten. What is there is never written as 0.
export function rate(n) {
  if (n === null || n === undefined) return "–";
  if (n > 0 && n < 0.05) return "<0.1";
  return Math.abs(n) < 10 ? one.format(n) : big(n);
}

// some writes how many of a kind: 1 order, 2 orders.
export const some = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;

// percent writes a share of 0 to 1: what is there is never written as 0, nor what is missing as 100.
export function percent(share) {
  const p = share * 100;
  if (p === 0 || p === 100) return String(p);
  if (p < 0.1) return "<0.1";
  return p > 99.9 ? ">99.9" : p.toFixed(1);
}

export const seconds = (s) => (s < 10 ? one.format(s) : whole.format(s));

// span writes a time that passes: 4 s, 2 min 05 s, 3 h 20 min.
export function span(s) {
  s = Math.max(0, Math.round(s));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86_400)} days`;
}

export const clock = (when) => new Date(when).toLocaleTimeString("en-GB");

export function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

export const find = (id) => document.getElementById(id);

// put writes a text where it is another, so that nothing is drawn or read aloud again for nothing.
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
