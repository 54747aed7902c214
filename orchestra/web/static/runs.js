// The list of runs, and what waits for a person over all of them.

import { askHint, askBrief, askSpawn } from "./dialogs.js";
import { html } from "./html.js";
import { Sign } from "./parts.js";
import { runPlace } from "./places.js";
import { count, dollars, duration, firstLine, SIGNS } from "./words.js";

const MOST_RUNS = 100; // the server gives no more at once
const RUN_STATES = { "": "all", running: "running", ended: "ended", interrupted: "interrupted" };

export function Runs({ state, act }) {
  const narrow = (changes) => { act.update(changes); act.refresh(); };
  return html`
    <h1>Runs</h1>
    <${Waiting} queue=${state.queue} />
    <div class="tools">
      <input type="search" placeholder="Find a run (/)" aria-label="Find a run" value=${state.search} onInput=${(event) => narrow({ search: event.target.value })} />
      <label class="line">state <select value=${state.stateFilter} onChange=${(event) => narrow({ stateFilter: event.target.value })}>
        ${Object.entries(RUN_STATES).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select></label>
      <a class="button" href="#/new">New run (n)</a>
    </div>
    ${state.runs.length === 0 && html`<p>There are no runs here yet. <a href="#/new">Start one</a>, or in a terminal: <code>aider-orchestrator "what to change"</code></p>`}
    <table class="runs">
      <thead><tr><th scope="col">state</th><th scope="col">run</th><th scope="col">change</th><th scope="col" class="n">tasks</th><th scope="col" class="n">cost</th><th scope="col" class="n">time</th></tr></thead>
      <tbody>${state.runs.map((run) => html`
        <tr key=${run.run}>
          <td><${Sign} state=${run.state} words=${run.progress?.paused ? "paused" : run.exit_code === null ? run.state : `exit ${run.exit_code}`} /></td>
          <td><a data-row href=${runPlace({ run: run.run })}>${run.run}</a></td>
          <td class="text">${firstLine(run.change)}</td>
          <${Progress} run=${run} />
        </tr>`)}</tbody>
    </table>
    ${state.page.total > state.runs.length && html`<p>${count(state.runs.length)} of ${count(state.page.total)} are shown.
      ${state.mostRuns < MOST_RUNS && html` <button onClick=${() => narrow({ mostRuns: MOST_RUNS })}>Show more</button>`} Find finds all of them.</p>`}`;
}

/** How far a run is, and what it costs: of one at work by its last events, of another one as it ended. */
function Progress({ run }) {
  const { progress } = run;
  if (!progress) return html`<td class="n">${run.tasks === null ? "" : `${run.complete} of ${run.tasks}`}</td>
    <td class="n">${run.cost === null ? "" : dollars(run.cost)}</td><td class="n">${run.seconds === null ? "" : duration(run.seconds)}</td>`;
  return html`<td class="n"><progress max=${progress.tasks || 1} value=${progress.done} aria-label="Tasks done"></progress> ${progress.done} of ${progress.tasks}
      ${progress.failed > 0 && html` <span class="state failed">${SIGNS.failed} ${progress.failed} failed</span>`}${progress.waiting > 0 && html` <span class="state waiting_human">${SIGNS.waiting_human} ${progress.waiting} need you</span>`}</td>
    <td class="n">${dollars(progress.cost)}${progress.budget ? ` of ${dollars(progress.budget)}` : ""}</td><td class="n">${duration((Date.now() - run.started) / 1000)}</td>`;
}

const MOST_WAITING = 5;

/** The tasks that wait for a person, first of all, because they hold others up. */
function Waiting({ queue }) {
  return queue.length > 0 && html`<ul class="waiting" aria-label="What needs you">${queue.slice(0, MOST_WAITING).map((each) => html`
    <li key=${each.run + each.task.id}><a href=${runPlace({ run: each.run, task: each.task.id })}>${SIGNS.waiting_human} ${each.task.agent}, ${each.task.title}: ${each.question}</a></li>`)}
    ${queue.length > MOST_WAITING && html`<li><a href="#/queue">and ${queue.length - MOST_WAITING} more</a></li>`}</ul>`;
}

export function Queue({ state, act }) {
  const later = { ...act, decide: act.decideSoon };
  return html`<h1>Needs you</h1>
    <p class="hint">j and k move, 1 to 5 decide. A decision is sent after some seconds: z undoes it until then.</p>
    ${state.queue.length === 0 && html`<p>No task waits for a decision.</p>`}
    ${state.queue.map(({ run, change, question, task }) => html`<article key=${run + task.id}>
      <h2><a data-row href=${runPlace({ run, task: task.id })}>${task.agent}: ${task.title}</a></h2>
      <p class="why">${question}</p>
      <p class="hint">${firstLine(change)} (${run}); ${task.attempts} tried, ${dollars(task.usage.cost)}. <a href=${runPlace({ run, task: task.id, part: "diff" })}>Its diff</a></p>
      <div class="buttons">
        <button data-decision onClick=${() => act.update({ asking: askHint(later, run, task) })}>Retry with a hint</button>
        <button data-decision onClick=${() => act.update({ asking: askBrief(later, run, task) })}>Edit the brief</button>
        <button data-decision onClick=${() => later.decide(run, task, "take")}>Take it</button>
        <button data-decision onClick=${() => act.update({ asking: askSpawn(later, run, task) })}>Another task instead</button>
        <button data-decision class="danger" onClick=${() => later.decide(run, task, "abandon")}>Abandon</button>
      </div></article>`)}`;
}
