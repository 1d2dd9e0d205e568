// Signing in, and changes of products. The token is in memory only.

import { find } from "./format.js";
import { headers, setToken } from "./connection.js";

const toastMs = 6000;
let toastTimer = 0;

export function toast(text, bad) {
  const box = find("toast");
  box.textContent = text;
  box.className = bad ? "bad shown" : "shown";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (box.className = ""), toastMs);
}

// signIn asks for a token until one is taken or the person gives up. taken(scope) is called with "admin" or "monitor".
export function signIn(why, taken) {
  const dialog = find("token-dialog");
  find("token-why").textContent = why;
  find("token-error").textContent = "";
  find("token").value = "";
  find("token-form").onsubmit = async (event) => {
    event.preventDefault();
    setToken(find("token").value.trim());
    const { scope, why } = await scopeOf();
    if (!scope) {
      setToken("");
      if (why === invalid) find("token").value = "";
      find("token-error").textContent = why;
      return;
    }
    dialog.close();
    taken(scope);
  };
  find("token-cancel").onclick = () => dialog.close();
  if (!dialog.open) dialog.showModal();
}

export function signOut() {
  setToken("");
}

const invalid = "This token is not valid here.";

// scopeOf tells what the token may, or why it may nothing.
async function scopeOf() {
  const ask = async (path) => (await fetch(path, { headers: headers(), cache: "no-store" })).status;
  try {
    const status = await ask("orders/admin/metrics");
    if (status === 200 || status >= 500) return { scope: "admin" }; // a store that is away is no matter of the token
    if (status === 429) return { why: "Too many requests came from here: wait a moment, then sign in again." };
    const looks = status === 403 && Object.keys(headers()).length > 0 && (await ask("monitoring/metrics")) === 200;
    return looks && !(await open()) ? { scope: "monitor" } : { why: invalid };
  } catch {
    return { why: "No answer. Try again." };
  }
}

// open tells whether figures are shown to everybody: then a wrong token is no monitor's.
async function open() {
  return (await fetch("monitoring/metrics", { cache: "no-store" })).status === 200;
}

// change sends a change of a product and returns it as it is then, or null.
export async function change(product, body, told, guarded) {
  const more = guarded && product.version ? { "If-Match": `"${product.version}"` } : {};
  try {
    const answer = await fetch("inventory/" + encodeURIComponent(product.id), {
      method: "PUT", headers: { ...headers(), ...more, "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const result = await answer.json();
    if (!answer.ok) {
      toast(result.detail, true);
      return null;
    }
    toast(told(result), false);
    return result;
  } catch {
    toast("No answer: look whether the change was made before you repeat it.", true);
    return null;
  }
}
