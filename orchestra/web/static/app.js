// The frame around the screens: navigation, the pill that says whether they are live, toasts and dialogs.

import { html } from "./html.js";
import { Ask, Help, Palette } from "./dialogs.js";
import { NewRun } from "./new_run.js";
import { Plan, Plans } from "./plans.js";
import { Run } from "./run.js";
import { Agents, Health, Locks, Stats } from "./server_screens.js";
import { Queue, Runs } from "./runs.js";
import { dismiss, shownToasts } from "./state.js";
import { nextTheme, readTheme } from "./theme.js";
import { clock, decisionWords } from "./words.js";

const SCREENS = { runs: Runs, run: Run, queue: Queue, new: NewRun, plans: Plans, plan: Plan, agents: Agents, locks: Locks, stats: Stats, health: Health };
const MAIN_LINKS = { "#/": "Runs", "#/queue": "Needs you", "#/new": "New run", "#/plans": "Plans" };
const MORE_LINKS = { "#/agents": "Agents", "#/locks": "Files held", "#/stats": "Figures", "#/health": "Health" };

export function App({ state, act }) {
  const screen = SCREENS[state.place.screen];
  return html`
    <a class="skip" href="#main" onClick=${skipToMain}>Skip to the screen</a>
    <header>
      <nav aria-label="Screens">
        ${Object.entries(MAIN_LINKS).map(([href, words]) => html`<${Link} href=${href} words=${words} state=${state} />`)}
        <span class="more">${Object.entries(MORE_LINKS).map(([href, words]) => html`<${Link} href=${href} words=${words} state=${state} />`)}</span>
      </nav>
      <span class="tools">
        <${Pill} state=${state} />
        <button onClick=${() => act.update({ palette: true })} title="All commands (Ctrl-K)">Commands</button>
        <button onClick=${() => act.update({ help: true })} title="Keys (?)">Keys</button>
        <button onClick=${() => { nextTheme(); act.update({}); }} title="Colours: system, light, dark">◐ ${readTheme()}</button>
      </span>
    </header>
    <main id="main" tabindex="-1" class=${["stale", "lost"].includes(state.link) && !state.past ? "stale" : ""}>
      ${state.error && html`<p class="problem" role="alert">${state.error}</p>`}
      ${(!state.error || state.run || state.place.screen === "health") && html`<${screen} state=${state} act=${act} />`}
    </main>
    <div class="toasts">${state.pending.map((each) => html`
      <p key=${each.timer} role="status"><span>${decisionWords(each)} is sent at ${clock(each.until)}</span> <button onClick=${() => act.undo(each)}>Undo (z)</button></p>`)}
      ${shownToasts().map((each) => html`
      <p key=${each.id} role=${each.kind}>${each.href ? html`<a href=${each.href} onClick=${() => dismiss(each.id)}>${each.text}</a>` : html`<span>${each.text}</span>`}
        <button aria-label="Close the message" onClick=${() => dismiss(each.id)}>×</button></p>`)}
      ${state.toasts.length > shownToasts().length && html`<p><span>${state.toasts.length - shownToasts().length} more</span>
        <button onClick=${() => act.update({ toasts: [] })}>Close all</button></p>`}
    </div>
    <p class="unseen" role="status" aria-live="polite">${state.said}</p>
    ${state.help && html`<${Help} act=${act} />`}
    ${state.palette && html`<${Palette} act=${act} />`}
    ${state.asking && html`<${Ask} asking=${state.asking} act=${act} />`}`;
}

function skipToMain(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

const OF = { run: "#/", plan: "#/plans" }; // the link under which a screen stands

function Link({ href, words, state }) {
  const { screen } = state.place, own = OF[screen] ?? (screen === "runs" ? "#/" : `#/${screen}`);
  const waiting = href === "#/queue" && state.queue.length;
  return html`<a href=${href} aria-current=${own === href ? "page" : null}><span>${words}</span>${waiting ? html` <b class="badge">${state.queue.length}</b>` : ""}</a>`;
}

/** Whether what is shown is true: said by the server's beats, never by hope. */
function Pill({ state }) {
  const words = {
    live: "● live", connecting: "○ connecting", lost: "✗ no connection",
    stale: `✗ stale since ${state.heard ? clock(state.heard) : "the start"}`,
  };
  if (state.past?.run) return html`<span class="pill past">◷ past</span>`;
  return html`<span class=${`pill ${state.link}`}>${words[state.link]}</span>`;
}
