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
    const scope = await scopeOf();
    if (scope === "") {
      setToken("");
      find("token").value = "";
      find("token-error").textContent = "This token is not valid here.";
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

async function scopeOf() {
  const ask = async (path) => (await fetch(path, { headers: headers(), cache: "no-store" })).status;
  try {
    const status = await ask("orders/admin/metrics");
    if (status === 200 || status >= 500) return "admin"; // a store that is away is no matter of the token
    return (await ask("monitoring/metrics")) === 200 && Object.keys(headers()).length > 0 && status === 403 && !(await open()) ? "monitor" : "";
  } catch {
    return "";
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
