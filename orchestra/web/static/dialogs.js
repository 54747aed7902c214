// Questions in a dialog, the keys, and the palette of commands. A dialog keeps the focus, and gives it back.

import { Component } from "./preact.js";
import { availableCommands, COMMANDS } from "./commands.js";
import { html } from "./html.js";
import { splitWords } from "./words.js";

class Dialog extends Component {
  componentDidMount() {
    this.before = document.activeElement;
    (this.box.querySelector("[autofocus]") ?? this.box.querySelector("textarea, input, button")).focus();
  }

  componentWillUnmount() {
    if (this.before?.isConnected) this.before.focus();
  }

  /** Keep Tab inside. */
  keep = (event) => {
    if (event.key !== "Tab") return;
    const stops = [...this.box.querySelectorAll("a[href], button:not(:disabled), input, textarea, select")];
    const end = event.shiftKey ? stops[0] : stops.at(-1);
    if (document.activeElement !== end) return;
    event.preventDefault();
    (event.shiftKey ? stops.at(-1) : stops[0]).focus();
  };

  render({ title, children }) {
    return html`<div class="veil" onKeyDown=${this.keep}><div role="dialog" aria-modal="true" aria-label=${title} ref=${(box) => { this.box = box ?? this.box; }}>
      <h2>${title}</h2>${children}</div></div>`;
  }
}

export function Ask({ asking, act }) {
  const submit = (event) => {
    event.preventDefault();
    asking.send(Object.fromEntries(new FormData(event.target)));
  };
  return html`<${Dialog} title=${asking.title}><form onSubmit=${submit}>
    ${asking.note && html`<p class="hint">${asking.note}</p>`}
    ${asking.fields.map((each) => html`<label key=${each.name}>${each.label}
      ${each.long ? html`<textarea name=${each.name} rows="5" required=${!each.optional} defaultValue=${each.value ?? ""}></textarea>`
        : html`<input name=${each.name} type=${each.number ? "number" : "text"} step="any" min=${each.number ? "0.01" : null} defaultValue=${each.value ?? ""} required=${!each.optional} />`}</label>`)}
    <div class="buttons"><button type="submit">OK</button><button type="button" onClick=${() => act.update({ asking: null })}>Leave (Esc)</button></div>
  </form></>`;
}

export function Help({ act }) {
  return html`<${Dialog} title="Keys">
    <dl class="keys">${COMMANDS.map(({ key, words }) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${words}</dd></div>`)}
      <div><dt><kbd>Enter</kbd></dt><dd>open</dd></div><div><dt><kbd>← ↑ → ↓</kbd></dt><dd>in the graph: along what tasks need</dd></div></dl>
    <button onClick=${() => act.update({ help: false })}>Close</button></>`;
}

export class Palette extends Component {
  constructor() {
    super();
    this.state = { find: "" };
  }

  render({ act }, { find }) {
    const fitting = availableCommands().filter(({ words }) => words.toLowerCase().includes(find.toLowerCase()));
    const carryOut = (command) => {
      act.update({ palette: false });
      command.run();
    };
    return html`<${Dialog} title="Commands"><form onSubmit=${(event) => { event.preventDefault(); if (fitting[0]) carryOut(fitting[0]); }}>
      <input aria-label="Find a command" value=${find} onInput=${(event) => this.setState({ find: event.target.value })} />
      <ul class="palette">${fitting.map((each) => html`<li key=${each.key}><button type="button" onClick=${() => carryOut(each)}>${each.words} <kbd>${each.key}</kbd></button></li>`)}</ul>
    </form></>`;
  }
}

// --- the questions

const field = (name, label, more = {}) => ({ name, label, ...more });

export const askHint = (act, run, row) => ({ title: `Try ${row.agent} again`, fields: [field("text", "A hint for the agent", { long: true, optional: true })], send: (given) => act.decide(run, row, "retry", given.text) });
export const askBrief = (act, run, row, brief = "") => ({ title: `A new brief for ${row.agent}`, fields: [field("text", "Everything that the agent must know and do", { long: true, value: brief })], send: (given) => act.decide(run, row, "brief", given.text) });
export const askSpawn = (act, run, row) => ({ title: `Another task instead of ${row.agent}`, fields: [field("text", "What it is to do with the same files", { long: true })], send: (given) => act.decide(run, row, "spawn", given.text) });
export const askAbandon = (act, row, needing, send) => ({ title: `Abandon ${row.agent}?`, note: needing.length ? `Tasks ${needing.join(", ")} need it and will not begin.` : "No other task needs it.", fields: [], send });
export const askBudget = (act, limit) => ({ title: "The budget of this run", fields: [field("dollars", "Dollars in all", { number: true, value: limit ?? "" })], send: (given) => act.send("/budget", { dollars: Number(given.dollars) }) });
export const askToResume = (question, send) => ({ title: `${question} Resume it with this decision?`, fields: [], send });
export const askCancel = (act) => ({ title: "Cancel the run? What is finished is kept.", fields: [], send: () => act.send("/cancel") });
export const askReplan = (act) => ({ title: "Replan the run?", note: "What tasks that have not begun need is worked out anew. No model is asked.", fields: [], send: () => act.send("/replan") });
export const askTask = (act) => ({
  title: "Add a task", fields: [field("brief", "What it is to do", { long: true }), field("files", "Its files, with blanks between them"), field("link", "Tasks that it waits for, by number", { optional: true })],
  send: (given) => act.send("/add", { brief: given.brief, files: splitWords(given.files), link: splitWords(given.link).map(Number) }),
});
export const askRepository = (act, roots) => ({
  title: "Add a repository", note: `Below ${roots.join(" or ")}. A new or empty folder becomes a repository.`,
  fields: [field("path", "Its folder", { optional: true, value: `${roots[0]}/` }), field("clone", "A URL to clone into it", { optional: true })],
  send: act.addRepository,
});
export const askEdit = (act, row) => ({
  title: `Edit ${row.agent}`, fields: [field("title", "Title", { value: row.title, optional: true }), field("brief", "A new brief (empty: as it is)", { long: true, optional: true })],
  send: (given) => act.send(`/tasks/${row.id}/edit`, Object.fromEntries(Object.entries(given).filter(([, text]) => text))),
});
