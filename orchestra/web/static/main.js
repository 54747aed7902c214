// Joins the parts: the screens are drawn from what the page knows, and keys and addresses change it.

import { render } from "./preact.js";
import { actions } from "./actions.js";
import { takeToken } from "./api.js";
import { App } from "./app.js";
import { pressKey } from "./commands.js";
import { enter, readList } from "./entering.js";
import { html } from "./html.js";
import { drawWith, state, update } from "./state.js";
import { applyTheme } from "./theme.js";
import { firstLine } from "./words.js";

const LIST_MS = 3000, STALE_MS = 10_500;

drawWith(() => {
  render(html`<${App} state=${state} act=${actions} />`, document.body);
  const { dataset } = document.documentElement;
  dataset.seq = state.past?.run?.seq ?? state.run?.seq ?? "";
  dataset.screen = state.place.screen;
  dataset.link = state.link;
  const waiting = state.place.screen === "run" ? state.run?.waiting.length ?? 0 : state.queue.length;
  document.title = `${waiting ? `(${waiting}) ` : ""}${state.place.screen === "run" && state.run ? firstLine(state.run.change) : "Aider Orchestrator"}`;
});

addEventListener("keydown", pressKey);
// A double click acts once. What is meant to be clicked often says so.
addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest?.("button:not([data-often])")) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}, true);
addEventListener("hashchange", () => enter());
// A decision that is not sent yet would be lost.
addEventListener("beforeunload", (event) => { if (state.pending.length) event.preventDefault(); });
setInterval(() => {
  if (state.place.screen === "run" || document.hidden) return;
  if (state.heard && Date.now() - state.heard > STALE_MS) update({ link: "stale" });
  readList();
}, LIST_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) readList(); });
setInterval(() => { if (state.run?.state === "running" && state.place.screen === "run" && !document.hidden) update({}); }, 1000);

applyTheme();
if (takeToken()) enter();
else update({ error: "The token is missing. Open the address that `aider-orchestrator serve` prints." });
