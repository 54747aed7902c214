// Light, dark, or as the system has it.

const KEY = "aider-orchestrator-theme", THEMES = ["system", "light", "dark"];

export const readTheme = () => (THEMES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "system");

export function applyTheme() {
  document.documentElement.dataset.theme = readTheme();
}

export function nextTheme() {
  localStorage.setItem(KEY, THEMES[(THEMES.indexOf(readTheme()) + 1) % THEMES.length]);
  applyTheme();
  dispatchEvent(new Event("themechange"));
}
