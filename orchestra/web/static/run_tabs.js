// The tabs of a run beside its graph and table. What is not in the rows is read when a tab is opened.

import { Component } from "./preact.js";
import { encode, get, getText } from "./api.js";
import { askEdit } from "./dialogs.js";
import { html } from "./html.js";
import { Facts, Patch, Reading, Sign } from "./parts.js";
import { runPlace } from "./places.js";
import { attempt } from "./state.js";
import { clock, count, dollars, duration, plural, splitPatch, taskName } from "./words.js";

const pathOf = (run, path) => `/runs/${encode(run.id)}${path}`;
const isRunning = (run) => run.state === "running";
const TaskLink = ({ run, task, part, words }) => html`<a href=${runPlace({ run: run.id, task, part })}>${words ?? `agent${task}`}</a>`;

// --- timeline

// By kind: its class, and the band of the lane that it fills, which tells kinds apart without colours.
const BANDS = { waiting: ["waits", 9, 2], person: ["person", 2, 4], retry: ["retry", 12, 4], model: ["model", 2, 14], edit: ["edit", 6, 8], gate: ["gate", 8, 8], merge: ["merge", 2, 8] };
const bandOf = (kind) => BANDS[kind] ?? ["", 2, 14];

/** What each agent did and when. Time between sessions is left out and marked. */
export function Timeline({ state, past, act }) {
  const { run } = state, found = state.parts.timeline;
  return html`<${Reading} read=${() => act.readPart("timeline", pathOf(run, "/timeline"))} every=${isRunning(run) ? 2000 : 0}>
    ${past && html`<p class="hint">The timeline is that of now, not of the slider's moment.</p>`}
    ${!found ? html`<p>Reading …</p>` : html`<${Lanes} found=${found} run=${run} />`}</>`;
}

function Lanes({ found, run }) {
  const total = Math.max(1, found.total), at = (ms) => `${((100 * ms) / total).toFixed(3)}%`;
  const kinds = Object.entries(found.kinds);
  return html`<ul class="legend">${kinds.map(([kind, words]) => html`<li><svg width="16" height="18" aria-hidden="true"><rect class=${`span ${bandOf(kind)[0]}`} y=${bandOf(kind)[1]} width="16" height=${bandOf(kind)[2]} /></svg> ${words}</li>`)}
      ${found.breaks.length > 0 && html`<li>┆ a break: the run did not work</li>`}</ul>
    <div class="lanes" role="list" aria-label="Timeline">${found.lanes.map((lane) => html`<div class="lane" role="listitem" key=${lane.name} aria-label=${laneWords(lane, found)}>
      <span class="name">${lane.task === null ? lane.name : html`<${TaskLink} run=${run} task=${lane.task} />`}</span>
      <svg class="bar" aria-hidden="true">${lane.spans.map(([kind, start, end, task]) => html`
        <rect class=${`span ${bandOf(kind)[0]}`} x=${at(start)} width=${`${Math.max(0.15, (100 * (end - start)) / total)}%`} y=${bandOf(kind)[1]} height=${bandOf(kind)[2]}><title>${`${found.kinds[kind] ?? kind}, ${duration((end - start) / 1000)}${lane.task === null && task !== null ? `, agent${task}` : ""}`}</title></rect>`)}
        ${found.breaks.map((each) => html`<line class="break" x1=${at(each.at)} x2=${at(each.at)} y1="0" y2="18"><title>${`a break of ${duration(each.length / 1000)}`}</title></line>`)}</svg></div>`)}
      <div class="lane"><span class="name hint">time</span><span class="bar hint axis"><span>0</span><span>${duration(total / 2000)}</span><span>${duration(total / 1000)}</span></span></div></div>`;
}

function laneWords(lane, found) {
  const sums = {};
  for (const [kind, start, end] of lane.spans) sums[kind] = (sums[kind] ?? 0) + end - start;
  return `${lane.name}: ${Object.entries(sums).map(([kind, ms]) => `${found.kinds[kind] ?? kind} ${duration(ms / 1000)}`).join(", ") || "nothing yet"}`;
}

// --- log

const LOG_PAGE = 500, MOST_LINES = 5000;

/** The events in words: the end first, which follows the run; earlier ones by a button; the server searches. */
export class Log extends Component {
  constructor() {
    super();
    this.state = { events: [], first: 0, query: "", found: null, isAtEnd: true, isWhole: false };
  }

  componentDidMount() {
    this.readEnd();
  }

  /** The page may have left the run while the log waited for an answer. */
  componentDidUpdate() {
    const { run } = this.props.state;
    if (!run) return;
    if (this.seen !== run.seq && !this.props.past) this.readEnd();
    if (this.state.isAtEnd && !this.state.found && this.list) this.list.scrollTop = this.list.scrollHeight;
  }

  async read(query) {
    const found = await attempt(() => get(pathOf(this.props.state.run, `/events?${query}`)));
    return found?.data ?? null;
  }

  /** Read what is new; the first time the last page. */
  async readEnd() {
    if (this.isReading) return;
    this.isReading = true;
    this.seen = this.props.state.run.seq;
    const last = this.state.events.at(-1)?.seq ?? Math.max(0, this.props.state.run.seq - LOG_PAGE);
    const found = await this.read(`after=${last}&limit=1000`);
    this.isReading = false;
    if (found?.length) this.setState(({ events }) => ({ events: [...events, ...found.filter((each) => each.seq > (events.at(-1)?.seq ?? 0))].slice(-MOST_LINES) }));
  }

  readEarlier = async () => {
    const first = this.state.events[0]?.seq ?? 1;
    const found = await this.read(`after=${Math.max(0, first - 1 - LOG_PAGE)}&limit=${LOG_PAGE}`);
    if (found) this.setState(({ events }) => ({ isAtEnd: false, events: [...found.filter((each) => each.seq < first), ...events] }));
  };

  search = async (event) => {
    event.preventDefault();
    const query = new FormData(event.target).get("query").trim();
    if (!query) return this.setState({ query, found: null });
    const found = await this.read(`q=${encode(query)}&limit=1000`);
    const fits = (each) => `${each.words} ${each.event} ${JSON.stringify(each.data)}`.toLowerCase().includes(query.toLowerCase());
    if (found) this.setState({ query, found: found.filter(fits) });
  };

  goToEnd = () => this.setState({ found: null, isAtEnd: true }, () => { this.list.scrollTop = this.list.scrollHeight; });

  render({ state, past }, { events, query, found, isAtEnd, isWhole }) {
    if (!state.run) return null;
    const shown = (found ?? events).filter((each) => (found || isWhole || each.words) && (!past || each.seq <= past.at));
    const scrolled = ({ currentTarget: list }) => this.setState({ isAtEnd: list.scrollTop + list.clientHeight >= list.scrollHeight - 4 });
    const row = (each) => html`<li key=${each.seq} class=${each.words ? "" : "hint"}><time>${clock(each.time)}</time> ${each.words || each.event}</li>`;
    return html`<form class="tools" onSubmit=${this.search}>
        <input type="search" name="query" aria-label="Search the log" placeholder="Search the log (/)" /><button>Search</button>
        <button type="button" aria-pressed=${isAtEnd && !found} onClick=${this.goToEnd}>End</button>
        <button type="button" aria-pressed=${isWhole} onClick=${() => this.setState({ isWhole: !isWhole })}>All events</button>
        <output>${found ? `${plural(found.length, "line")} with “${query}”` : `${count(events[0]?.seq ?? 0)} to ${count(events.at(-1)?.seq ?? 0)} of ${count(state.run.seq)} events`}</output></form>
      ${!found && events[0]?.seq > 1 && html`<button onClick=${this.readEarlier}>Earlier events</button>`}
      <ol class="log" tabindex="0" aria-label="Log" onScroll=${scrolled} onKeyDown=${(event) => { if (event.key === "End") this.goToEnd(); }} ref=${(list) => { this.list = list; }}>${shown.map(row)}</ol>`;
  }
}

// --- files

export function Files({ state, past, act }) {
  const { run, parts } = state;
  const read = () => { act.readPart("files", pathOf(run, "/files")); act.readDiff(); };
  const patches = parts.diff === undefined ? [] : splitPatch(parts.diff), byPath = new Map(patches.map((file) => [file.path, file]));
  return html`<${Reading} key=${run.exit_code} read=${read} every=${isRunning(run) ? 5000 : 0}>
    ${past && html`<p class="hint">The files are those of now, not of the slider's moment.</p>`}
    ${!parts.files ? html`<p>Reading …</p>` : html`<table aria-label="Files"><thead><tr><th scope="col">file</th><th scope="col">tasks</th><th scope="col">state</th><th scope="col" class="n">changed</th><th scope="col">held</th></tr></thead>
      <tbody>${parts.files.map((file) => html`<tr key=${file.path}><td class="text"><code>${file.path}</code></td>
        <td>${[...new Set([...file.tasks, ...file.changed_by])].map((task) => html`<${TaskLink} run=${run} task=${task} part="diff" /> `)}</td>
        <td>${file.states.map((name) => html`<${Sign} state=${name} /> `)}</td>
        <td class="n">${byPath.has(file.path) ? `+${byPath.get(file.path).added} −${byPath.get(file.path).removed}` : file.changed_by.length ? "by its task" : ""}</td><td>${file.held ? "held" : ""}</td></tr>`)}</tbody></table>`}
    <h2>What the run changed</h2>
    ${patches.length ? html`<${Patch} files=${patches} />` : html`<p class="hint">Nothing is combined yet; the diff of each task is in its panel.</p>`}</>`;
}

// --- gates

export function Gates({ state, act }) {
  const { run, parts } = state;
  return html`<${Reading} read=${() => act.readPart("gates", pathOf(run, "/gates"))} every=${isRunning(run) ? 1000 : 0}>
    ${!parts.gates ? html`<p>Reading …</p>` : parts.gates.length === 0 ? html`<p class="hint">No gate has begun.</p>`
      : [...parts.gates].reverse().map((gate) => html`<${Gate} key=${gate.number} gate=${gate} run=${run} />`)}</>`;
}

const GATE_SIGNS = { running: "▶ at work", passed: "✓ passed", failed: "✗ failed", ended: "■ ended" };
const GATE_CLASS = { running: "active", passed: "complete", failed: "failed", ended: "planned" };

/** One gate; its output is read when it is opened, and again each second while it is at work. */
class Gate extends Component {
  constructor({ gate, isOpen }) {
    super();
    this.state = { isOpen: isOpen ?? gate.state === "running", text: null };
  }

  render({ gate, run }, { isOpen, text }) {
    const about = gate.task ? `, agent${gate.task}` : ", all tasks together";
    const read = async () => {
      const found = await getText(pathOf(run, `/gates/${gate.number}/output`)).catch(() => "It has printed nothing.");
      this.setState({ text: found || "It has printed nothing." });
    };
    return html`<details class="file" open=${isOpen} onToggle=${(event) => this.setState({ isOpen: event.currentTarget.open })}>
      <summary><span class=${`state ${GATE_CLASS[gate.state]}`}>${GATE_SIGNS[gate.state]}</span> ${gate.name}${about}${gate.remembered ? `, remembered from run ${gate.remembered}` : gate.seconds ? `, ${duration(gate.seconds)}` : ""}</summary>
      <p>${gate.task && html`<${TaskLink} run=${run} task=${gate.task} part="gates" />: `}<code>${gate.command}</code></p>
      ${(gate.failures ?? []).map((words) => html`<p class="why">${words}</p>`)}
      ${isOpen && html`<${Reading} key=${gate.state} read=${read} every=${gate.state === "running" ? 1000 : 0}><pre tabindex="0" aria-label=${`Output of ${gate.name}`}>${text ?? "Reading …"}</pre></>`}</details>`;
  }
}

/** The gates of one attempt, in the panel of its task. */
export function TaskGates({ state, task, attempt: number, gates, act }) {
  const { run, parts } = state, own = (parts.gates ?? []).filter((gate) => gate.task === task && gate.attempt === number);
  return html`<${Reading} read=${() => act.readPart("gates", pathOf(run, "/gates"))} every=${isRunning(run) ? 2000 : 0}>
    ${own.length ? own.map((gate) => html`<${Gate} key=${gate.number} gate=${gate} run=${run} isOpen=${gate.state !== "passed"} />`)
      : gates.length ? gates.map((gate) => html`<p>${gate.ok ? "✓" : "✗"} ${gate.name}: <code>${gate.command}</code></p>`) : html`<p class="hint">No gate was run for this attempt alone.</p>`}</>`;
}

// --- cost

export function Costs({ state, rows }) {
  const { run } = state, { usage, limits } = run, sorted = [...rows].sort((a, b) => (b.usage.cost ?? 0) - (a.usage.cost ?? 0));
  const most = Math.max(1e-9, ...sorted.map((row) => row.usage.cost ?? 0));
  return html`<${Facts} facts=${[
      ["paid", dollars(usage.cost)], limits.budget && ["budget", dollars(limits.budget)], usage.assumed_cost > 0 && ["assumed for lost replies", dollars(usage.assumed_cost)],
      ["requests", count(usage.requests)], ["tokens in", count(usage.input_tokens)], ["of them cached", count(usage.cached_tokens)], ["tokens out", count(usage.output_tokens)],
    ]} />
    ${limits.budget > 0 && html`<label class="line">of the budget <meter max=${limits.budget} value=${usage.cost ?? 0}></meter> ${Math.round((100 * (usage.cost ?? 0)) / limits.budget)} %</label>`}
    <table aria-label="Cost by task"><thead><tr><th scope="col">task</th><th scope="col">what</th><th scope="col" class="n">requests</th><th scope="col" class="n">tokens</th><th scope="col" class="n">cost</th><th scope="col"><span class="unseen">share</span></th></tr></thead>
    <tbody>${sorted.map((row) => html`<tr key=${row.id}><td><${TaskLink} run=${run} task=${row.id} part="attempts" /></td><td class="text">${taskName(row)}</td>
      <td class="n">${row.usage.requests}</td><td class="n">${count(row.usage.total_tokens)}</td><td class="n">${dollars(row.usage.cost)}</td>
      <td class="share"><svg width="100%" height="10" aria-hidden="true"><rect class="span model" width=${`${(100 * (row.usage.cost ?? 0)) / most}%`} height="10" /></svg></td></tr>`)}</tbody></table>`;
}

// --- plan and settings

export function RunPlan({ state, rows, past, act }) {
  const { run } = state;
  return html`<ol class="cards">${rows.map((row) => html`<li key=${row.id} value=${row.id}><article>
    <h2><${TaskLink} run=${run} task=${row.id} words=${taskName(row)} /> <${Sign} state=${row.state} words=${row.phase} /></h2>
    <p class="hint">${row.role && `${row.role}; `}${row.files.join(", ")}${row.needs.length > 0 ? `; needs ${row.needs.join(", ")}` : ""}${row.priority ? `; priority ${row.priority}` : ""}</p>
    ${!past && isRunning(run) && ["planned", "ready"].includes(row.state) && !row.attempts && html`<button onClick=${() => act.update({ asking: askEdit(act, row) })}>Edit</button>`}
  </article></li>`)}</ol>
  ${state.run.notes.length > 0 && html`<h2>Notes</h2><ul>${state.run.notes.map((note) => html`<li>${note}</li>`)}</ul>`}`;
}

export function RunSettings({ state, act }) {
  const { run, parts } = state;
  const options = Object.entries(parts.first?.[0]?.data?.options ?? {}).filter(([, value]) => value !== "" && value !== null && String(value) !== "" && value !== 0 && value !== false);
  return html`<${Reading} read=${() => act.readPart("first", pathOf(run, "/events?limit=1"))}>
    <p class="hint">The settings that this run was started with; what is off or empty is left out. <b>Start over</b> begins a new run with the same.</p>
    <table aria-label="Settings"><thead><tr><th scope="col">setting</th><th scope="col">value</th></tr></thead>
    <tbody>${options.map(([name, value]) => html`<tr key=${name}><td>${name.replaceAll("_", "-")}</td><td class="text">${Array.isArray(value) ? value.join(", ") : String(value)}</td></tr>`)}</tbody></table></>`;
}
