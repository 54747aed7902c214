// The screens. They draw what main.js knows, and call its actions; they keep no state of their own.

import { openFile } from "./api.js";
import { html } from "./html.js";
import { NewRun } from "./new_run.js";
import { clock, count, day, dollars, duration, plural, progress, SIGNS } from "./words.js";

export function App({ state, act }) {
  const screen = { runs: Runs, run: Run, queue: Queue, new: NewRun }[state.place.screen];
  return html`
    <header>
      <nav aria-label="Screens">
        <a href="#/" aria-current=${state.place.screen === "runs" ? "page" : null}>Runs</a>
        <a href="#/queue" aria-current=${state.place.screen === "queue" ? "page" : null}>
          Needs you${state.queue.length ? html` <b class="badge">${state.queue.length}</b>` : ""}</a>
        <a href="#/new" aria-current=${state.place.screen === "new" ? "page" : null}>New run</a>
      </nav>
      ${state.place.screen === "run" && html`<${Pill} state=${state} />`}
      <button onClick=${() => act.update({ help: true })} title="Keys (?)">Keys</button>
    </header>
    <main>${state.error ? html`<p class="problem">${state.error}</p>` : html`<${screen} state=${state} act=${act} />`}</main>
    <div class="toasts">${state.toasts.map((each) => html`
      <p key=${each.id} role=${each.kind}>${each.href ? html`<a href=${each.href}>${each.text}</a>` : each.text}
        <button aria-label="Close" onClick=${() => act.dismiss(each.id)}>×</button></p>`)}</div>
    ${state.help && html`<${Help} act=${act} />`}
    ${state.asking && html`<${Ask} asking=${state.asking} act=${act} />`}`;
}

/** Whether what is shown is what the run is: said by the stream's beats. */
function Pill({ state }) {
  const words = {
    live: "live", connecting: "connecting", lost: "no connection",
    stale: `stale since ${state.heard ? clock(state.heard) : "the start"}`,
  };
  if (state.past?.run) return html`<span class="pill past" role="status">past</span>`;
  return html`<span class=${`pill ${state.stream}`} role="status">${words[state.stream]}</span>`;
}

function Sign({ state, words }) {
  return html`<span class=${`state ${state}`}><span aria-hidden="true">${SIGNS[state] ?? ""}</span> ${words ?? state.replace("_", " ")}</span>`;
}

// --- runs

function Runs({ state, act }) {
  return html`
    <h1>Runs</h1>
    <${Waiting} state=${state} />
    <input type="search" placeholder="Find a run (/)" aria-label="Find a run" value=${state.search}
      onInput=${(event) => { act.update({ search: event.target.value }); act.refresh(); }} />
    ${state.runs.length === 0 && html`<p>There are no runs here yet. <a href="#/new">Start one</a>, or in a terminal: <code>aider-orchestrator "what to change"</code></p>`}
    <table class="runs">
      <thead><tr><th>state</th><th>run</th><th>change</th><th class="n">tasks</th><th class="n">cost</th><th class="n">time</th></tr></thead>
      <tbody>${state.runs.map((run) => html`
        <tr key=${run.run}>
          <td><${Sign} state=${run.state} words=${run.exit_code === null ? run.state : `exit ${run.exit_code}`} /></td>
          <td><a data-row href=${`#/runs/${run.run}`}>${run.run}</a></td>
          <td class="text">${run.change.split("\n")[0]}</td>
          <td class="n">${run.tasks === null ? "" : `${run.complete} of ${run.tasks}`}</td>
          <td class="n">${run.cost === null ? "" : dollars(run.cost)}</td>
          <td class="n">${run.seconds === null ? "" : duration(run.seconds)}</td>
        </tr>`)}</tbody>
    </table>`;
}

function Waiting({ state }) {
  return state.queue.length > 0 && html`<ul class="waiting">${state.queue.slice(0, 5).map((each) => html`
    <li key=${each.run + each.task.id}><a href=${`#/runs/${each.run}`}>${SIGNS.waiting_human} ${each.task.agent}: ${each.question}</a></li>`)}</ul>`;
}

// --- one run

const TABS = { graph: "Graph", table: "Table", log: "Log" };

function Run({ state: now, act }) {
  if (!now.run) return html`<p>Reading the run …</p>`;
  const past = now.past?.run ? now.past : null;
  const state = past ? { ...now, run: past.run, rows: past.rows, graph: past.graph } : now;
  const run = state.run, rows = [...state.rows.values()].sort((a, b) => a.id - b.id);
  const running = run.state === "running";
  return html`
    <h1>${run.change.split("\n")[0]}</h1>
    <${Summary} run=${run} end=${past?.time} />
    <${Moments} now=${now} past=${past} act=${act} />
    ${!past && html`<div class="buttons">
      ${running && html`
      <button onClick=${() => act.send(run.paused ? "/unpause" : "/pause")}>${run.paused ? "Unpause" : "Pause"}</button>
      <button onClick=${() => act.update({ asking: askBudget(act) })}>Budget</button>
      <button onClick=${() => act.update({ asking: askTask(act) })}>Add a task</button>
      <button aria-pressed=${state.linking !== null}
        onClick=${() => act.update({ linking: state.linking === null ? 0 : null })}>Link (l)</button>
      <button class="danger" onClick=${() => act.update({ asking: askCancel(act) })}>Cancel the run</button>`}
      ${!running && html`
      <button disabled=${run.exit_code === 0 || run.elsewhere} onClick=${() => act.resume(run.id)}>Resume</button>
      <button disabled=${run.elsewhere} onClick=${() => act.restart(run.id)}>Start over</button>`}
      <button disabled=${run.exit_code === null} onClick=${() => openFile(`/runs/${run.id}/report`)}>Report</button>
    </div>`}
    ${state.linking !== null && html`<p class="hint">${state.linking ? `Now click the task that task ${state.linking} must wait for (or no longer).` : "Click the task that is to wait. Esc leaves."}</p>`}
    <div class="columns">
      <section>
        <div role="tablist">${Object.entries(TABS).map(([tab, words]) => html`
          <button role="tab" aria-selected=${state.tab === tab} onClick=${() => act.showTab(tab)}>${words}</button>`)}</div>
        ${state.tab === "graph" && html`<${Graph} state=${state} rows=${rows} act=${act} />`}
        ${state.tab !== "log" && html`<${Tasks} rows=${rows} state=${state} end=${past?.time} act=${act} />`}
        ${state.tab === "log" && html`<ol class="log">${state.log.filter((each) => !past || each.seq <= past.at).map((each) => html`
          <li key=${each.seq}><time>${clock(each.time)}</time> ${each.words || each.event}</li>`)}</ol>`}
      </section>
      ${state.selected !== null && state.rows.has(state.selected) && html`<${Task} row=${state.rows.get(state.selected)} state=${state} past=${past} act=${act} />`}
    </div>`;
}

/** The slider over the run's events. At its end the run is shown as it is now. */
function Moments({ now, past, act }) {
  const at = now.past?.wanted ?? now.run.seq;
  const words = past ? `${at} of ${now.run.seq}, ${clock(past.time)}` : "now";
  return html`<div class="moments">
    <input type="range" min="1" max=${now.run.seq} value=${at} aria-label="Moment of the run, by its events" aria-valuetext=${words}
      onInput=${(event) => act.showMoment(Number(event.target.value))} />
    <output>${words}</output>
    <button disabled=${!past} onClick=${() => act.update({ past: null })}>Now</button>
  </div>`;
}

function Summary({ run, end }) {
  const { all, done, failed } = progress(run.tasks);
  const limit = run.limits.budget, since = (run.ended ?? end ?? Date.now()) - run.started;
  return html`
    <p class="verdict ${run.exit_code === 0 ? "good" : run.exit_code === null ? "" : "bad"}"><${Sign} state=${run.state} words=${run.paused ? "paused" : run.state} /> ${run.verdict}</p>
    <progress max=${all || 1} value=${done} aria-label="Tasks done"></progress>
    <dl class="facts">
      <div><dt>tasks</dt><dd>${done} of ${all}${failed ? `, ${failed} failed` : ""}</dd></div>
      <div><dt>cost</dt><dd>${dollars(run.usage.cost)}${limit ? ` of ${dollars(limit)}` : ""}</dd></div>
      <div><dt>tokens</dt><dd>${count(run.usage.total_tokens)}</dd></div>
      <div><dt>time</dt><dd>${duration(since / 1000)}</dd></div>
      <div><dt>model</dt><dd>${run.model}</dd></div>
      <div><dt>started</dt><dd>${day(run.started)}</dd></div>
      ${run.gates.map((gate) => html`<div><dt>${gate.name}</dt><dd>${gate.ok ? "✓ passed" : "✗ failed"}</dd></div>`)}
    </dl>
    ${run.problem && html`<p class="problem">${run.problem}</p>`}`;
}

/** The tasks by what they need, as the report draws them. The table below is its accessible twin. */
function Graph({ state, rows, act }) {
  const graph = state.graph;
  if (!graph) return html`<p class="hint">No task needs another one.</p>`;
  const byId = new Map(rows.map((row) => [row.id, row]));
  return html`<div class="graph"><svg viewBox=${`0 0 ${graph.width} ${graph.height}`} width=${graph.width} height=${graph.height} aria-hidden="true">
    ${graph.edges.map((edge) => html`<path class="edge" d=${edge} />`)}
    ${graph.boxes.filter(([id]) => byId.has(id)).map(([id, x, y]) => {
      const row = byId.get(id);
      return html`<g key=${id} class=${`box ${row.state} ${state.selected === id ? "chosen" : ""}`} transform=${`translate(${x} ${y})`} onClick=${() => act.pick(id)}>
        <rect rx="6" width="150" height="34" /><text x="8" y="15">${SIGNS[row.state]} ${row.agent}</text>
        <text x="8" y="28" class="small">${(row.title || row.files[0] || "").slice(0, 24)}</text></g>`;
    })}</svg></div>`;
}

function Tasks({ rows, state, end, act }) {
  return html`<table class="tasks">
    <thead><tr><th>task</th><th>state</th><th>what</th><th class="n">tries</th><th class="n">tokens</th><th class="n">cost</th></tr></thead>
    <tbody>${rows.map((row) => html`
      <tr key=${row.id} class=${state.selected === row.id ? "chosen" : ""}>
        <td><button class="link" onClick=${() => act.pick(row.id)}>${row.agent}</button></td>
        <td><${Sign} state=${row.state} words=${row.since ? `${row.phase}, ${duration(((end ?? Date.now()) - row.since) / 1000)}` : row.phase} /></td>
        <td class="text">${row.title || row.files.join(", ")}${row.needs.length > 0 && html` <span class="hint">needs ${row.needs.join(", ")}</span>`}</td>
        <td class="n">${row.attempts}</td><td class="n">${count(row.usage.total_tokens)}</td><td class="n">${dollars(row.usage.cost)}</td>
      </tr>`)}</tbody></table>`;
}

// --- one task

const PARTS = { brief: "Brief", attempts: "Attempts", diff: "Diff", conversation: "Conversation", gates: "Checks" };

function Task({ row, state, past, act }) {
  const run = state.run, running = run.state === "running" && !past;
  const idle = !past && ["failed", "waiting_human"].includes(row.state), waits = ["planned", "ready"].includes(row.state) && !row.attempts;
  const command = `aider-orchestrator resolve ${run.id} ${row.id} --retry "a hint"`;
  return html`<aside aria-label=${`Task ${row.id}`}>
    <h2>${row.agent}: ${row.title} <button aria-label="Close the task" onClick=${() => act.select(null)}>×</button></h2>
    <p><${Sign} state=${row.state} words=${row.phase} /> ${row.role && `as ${row.role}`}</p>
    ${(row.asks || row.held || row.cause) && html`<p class=${row.asks || row.held || idle ? "why" : ""}>${row.asks || row.held || row.cause} ${row.remedy}</p>`}
    <dl class="facts">
      <div><dt>cost</dt><dd>${dollars(row.usage.cost)}</dd></div><div><dt>tries</dt><dd>${row.attempts}</dd></div>
      <div><dt>files</dt><dd>${row.files.join(", ")}</dd></div>
      ${row.branch && html`<div><dt>branch</dt><dd><code>${row.branch}</code></dd></div>`}
    </dl>
    <div class="buttons">
      ${idle && html`
        <button onClick=${() => act.update({ asking: askHint(act, run.id, row) })}>Retry with a hint</button>
        <button onClick=${() => act.update({ asking: askBrief(act, run.id, row) })}>Edit the brief</button>
        <button onClick=${() => act.decide(run.id, row.id, "take")}>Take it</button>
        <button onClick=${() => act.update({ asking: askSpawn(act, run.id, row) })}>Another task instead</button>
        <button class="danger" onClick=${() => act.decide(run.id, row.id, "abandon")}>Abandon</button>`}
      ${waits && running && html`
        <button onClick=${() => act.update({ asking: askEdit(act, row) })}>Edit</button>
        <button class="danger" onClick=${() => act.send(`/tasks/${row.id}/abandon`)}>Abandon</button>`}
      ${row.state === "active" && running && html`
        <button onClick=${() => act.send(`/tasks/${row.id}/interrupt`)}>Interrupt</button>
        <button class="danger" onClick=${() => act.send(`/tasks/${row.id}/cancel`)}>Cancel</button>`}
    </div>
    ${idle && !running && html`<p class="hint">No process works on this run: your decision resumes it. In a terminal: <code>${command}</code></p>`}
    ${past ? html`<p class="hint">Its attempts, diff and conversation are shown when the slider is at its end.</p>` : html`
    <div role="tablist">${Object.entries(PARTS).map(([part, words]) => html`
      <button role="tab" aria-selected=${state.part === part} onClick=${() => act.update({ part })}>${words}</button>`)}</div>
    ${state.detail ? html`<${Part} part=${state.part} detail=${state.detail} />` : html`<p>Reading …</p>`}`}
  </aside>`;
}

function Part({ part, detail }) {
  const tries = [...detail.attempts].reverse();
  if (part === "brief") return html`<pre>${detail.brief}</pre>`;
  if (part === "gates") return html`<pre>${tries.flatMap((each) => each.gates).map((gate) => `${gate.ok ? "✓" : "✗"} ${gate.name}: ${gate.command}\n${(gate.new ?? []).map((name) => `   ${name}\n`).join("")}`).join("") || "No check was run for this task alone."}</pre>`;
  if (!tries.length) return html`<p class="hint">It has not begun.</p>`;
  return tries.map((each) => html`<section key=${each.number}>
    <h3>Attempt ${each.number}: ${each.verdict || "running"}</h3>
    ${part === "attempts" && html`<p>${each.cause} ${each.remedy}</p><p class="hint">${each.model}, ${duration(each.seconds)}, ${plural(each.usage.requests, "request")}, ${dollars(each.usage.cost)}</p>`}
    ${part === "diff" && html`<pre class="diff">${each.diff ? each.diff.split("\n").map((line) => html`<span class=${lineKind(line)}>${line + "\n"}</span>`) : "It changed nothing."}</pre>`}
    ${part === "conversation" && each.conversation.map((turn) => html`
      ${turn.asked.filter(([role]) => role !== "system").map(([role, text]) => html`<details><summary>${role}</summary><pre>${text}</pre></details>`)}
      <pre class="reply">${turn.said}</pre>`)}
  </section>`);
}

const lineKind = (line) => (/^(\+\+\+|---|diff |index )/.test(line) ? "head" : line[0] === "+" ? "plus" : line[0] === "-" ? "minus" : line.startsWith("@@") ? "at" : "");

// --- the queue

function Queue({ state, act }) {
  return html`<h1>Needs you</h1>
    ${state.queue.length === 0 && html`<p>No task waits for a decision.</p>`}
    ${state.queue.map(({ run, change, question, task }) => html`<article key=${run + task.id}>
      <h2><a data-row href=${`#/runs/${run}`}>${task.agent}: ${task.title}</a></h2>
      <p class="why">${question}</p><p class="hint">${change.split("\n")[0]} (${run})</p>
      <div class="buttons">
        <button onClick=${() => act.update({ asking: askHint(act, run, task) })}>Retry with a hint</button>
        <button onClick=${() => act.decide(run, task.id, "take")}>Take it</button>
        <button class="danger" onClick=${() => act.decide(run, task.id, "abandon")}>Abandon</button>
      </div></article>`)}`;
}

// --- questions

const field = (name, label, more = {}) => ({ name, label, ...more });
const askHint = (act, run, row) => ({ title: `Try ${row.agent} again`, fields: [field("text", "A hint for the agent", { long: true, optional: true })], send: (given) => act.decide(run, row.id, "retry", given.text) });
const askBrief = (act, run, row) => ({ title: `A new brief for ${row.agent}`, fields: [field("text", "Everything that the agent must know and do", { long: true })], send: (given) => act.decide(run, row.id, "brief", given.text) });
const askSpawn = (act, run, row) => ({ title: `Another task instead of ${row.agent}`, fields: [field("text", "What it is to do with the same files", { long: true })], send: (given) => act.decide(run, row.id, "spawn", given.text) });
const askBudget = (act) => ({ title: "The budget of this run", fields: [field("dollars", "Dollars in all", { number: true })], send: (given) => act.send("/budget", { dollars: Number(given.dollars) }) });
export const askToResume = (question, send) => ({ title: `${question} Resume it with this decision?`, fields: [], send });
const askCancel = (act) => ({ title: "Cancel the run? What is finished is kept.", fields: [], send: () => act.send("/cancel") });
const askTask = (act) => ({
  title: "Add a task", fields: [field("brief", "What it is to do", { long: true }), field("files", "Its files, with blanks between them"), field("link", "Tasks that it waits for, by number", { optional: true })],
  send: (given) => act.send("/add", { brief: given.brief, files: words(given.files), link: words(given.link).map(Number) }),
});
const askEdit = (act, row) => ({
  title: `Edit ${row.agent}`, fields: [field("title", "Title", { value: row.title, optional: true }), field("brief", "A new brief (empty: as it is)", { long: true, optional: true })],
  send: (given) => act.send(`/tasks/${row.id}/edit`, Object.fromEntries(Object.entries(given).filter(([, text]) => text))),
});
const words = (text) => text.split(/\s+/).filter(Boolean);

function Ask({ asking, act }) {
  const submit = (event) => {
    event.preventDefault();
    asking.send(Object.fromEntries(new FormData(event.target)));
  };
  return html`<div class="veil"><form role="dialog" aria-modal="true" aria-label=${asking.title} onSubmit=${submit}>
    <h2>${asking.title}</h2>
    ${asking.fields.map((each, n) => html`<label>${each.label}
      ${each.long ? html`<textarea name=${each.name} rows="5" required=${!each.optional} autofocus=${n === 0}></textarea>`
        : html`<input name=${each.name} type=${each.number ? "number" : "text"} step="any" min=${each.number ? "0.01" : null} value=${each.value ?? ""} required=${!each.optional} />`}</label>`)}
    <div class="buttons"><button type="submit">OK</button><button type="button" onClick=${() => act.update({ asking: null })}>Leave (Esc)</button></div>
  </form></div>`;
}

function Help({ act }) {
  const keys = { "?": "this help", r: "refresh", h: "runs", q: "what needs you", n: "new run", "j k": "next, previous", Enter: "open", "/": "find", l: "link mode: click the task that waits, then the one it needs", Esc: "close, back" };
  return html`<div class="veil"><div role="dialog" aria-modal="true" aria-label="Keys">
    <h2>Keys</h2><dl class="keys">${Object.entries(keys).map(([key, text]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}</dl>
    <button onClick=${() => act.update({ help: false })}>Close</button></div></div>`;
}
