// Small pieces that several screens share.

import { Component } from "./preact.js";
import { html } from "./html.js";
import { lineKind, SIGNS, stateWords } from "./words.js";

export function Sign({ state, words }) {
  return html`<span class=${`state ${state}`}><span aria-hidden="true">${SIGNS[state] ?? ""}</span> ${words ?? stateWords(state)}</span>`;
}

export const Facts = ({ facts }) => html`<dl class="facts">${facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** Tabs that are moved through with the arrow keys, as tab lists are. */
export function Tabs({ tabs, chosen, label, choose }) {
  const names = Object.keys(tabs);
  const move = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = names[(names.indexOf(chosen) + by + names.length) % names.length];
    choose(next);
    event.currentTarget.querySelector(`[data-tab=${next}]`)?.focus();
  };
  return html`<div role="tablist" aria-label=${label} onKeyDown=${move}>${names.map((name) => html`
    <button role="tab" key=${name} data-tab=${name} aria-selected=${name === chosen} tabindex=${name === chosen ? 0 : -1} onClick=${() => choose(name)}>${tabs[name]}</button>`)}</div>`;
}

const MOST_LINES = 1000;

/** A patch, file by file. A file is drawn when it is opened; generated and long ones are closed at first. */
export class Patch extends Component {
  constructor() {
    super();
    this.state = { open: {}, whole: {} };
  }

  render({ files, note = () => "" }, { open, whole }) {
    return files.map((file) => {
      const lines = file.text.split("\n");
      const isOpen = open[file.path] ?? (!file.generated && lines.length < 300 && files.length <= 10);
      const shown = whole[file.path] ? lines : lines.slice(0, MOST_LINES);
      return html`<details key=${file.path} class="file" open=${isOpen} onToggle=${(event) => this.setState({ open: { ...open, [file.path]: event.currentTarget.open } })}>
        <summary><code>${file.path}</code> <span class="plus">+${file.added}</span> <span class="minus">−${file.removed}</span> ${file.generated && html`<span class="hint">generated</span>`} ${note(file)}</summary>
        ${isOpen && html`<pre class="diff" tabindex="0" aria-label=${`Changes of ${file.path}`}>${shown.map((line) => html`<span class=${lineKind(line)}>${line + "\n"}</span>`)}</pre>`}
        ${isOpen && shown.length < lines.length && html`<button onClick=${() => this.setState({ whole: { ...whole, [file.path]: true } })}>Show all ${lines.length} lines</button>`}
      </details>`;
    });
  }
}

/** Reads something when it is first shown. */
export class Reading extends Component {
  componentDidMount() {
    this.props.read();
    this.repeat();
  }

  componentDidUpdate(before) {
    if (before.every !== this.props.every) this.repeat();
  }

  repeat() {
    clearInterval(this.timer);
    if (this.props.every) this.timer = setInterval(() => { if (!document.hidden) this.props.read(); }, this.props.every);
  }

  componentWillUnmount() {
    clearInterval(this.timer);
  }

  render({ children }) {
    return children;
  }
}
