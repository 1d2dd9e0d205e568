// Dark or light: as the system has it, until somebody chooses.

const key = "flashsale-theme";

function chosen() {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

const system = matchMedia("(prefers-color-scheme: light)");

export const isLight = () => (chosen() || (system.matches ? "light" : "dark")) === "light";

export function applyTheme() {
  document.documentElement.dataset.theme = isLight() ? "light" : "dark";
}

export function toggleTheme() {
  try {
    localStorage.setItem(key, isLight() ? "dark" : "light");
  } catch {
    // a browser that keeps nothing keeps the system's
  }
  applyTheme();
}

export function onThemeChange(call) {
  system.addEventListener("change", () => {
    applyTheme();
    call();
  });
}
