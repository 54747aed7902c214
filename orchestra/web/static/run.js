// One run: what it is, what can be done with it, and its tabs.

import { openFile } from "./api.js";
import { shownRows } from "./actions.js";
import { askBudget, askCancel, askReplan, askTask } from "./dialogs.js";
import { Graph } from "./graph.js";
import { html } from "./html.js";
import { Facts, Sign, Tabs } from "./parts.js";
import { runPlace } from "./places.js";
import { Costs, Files, Gates, Log, RunPlan, RunSettings, Timeline } from "./run_tabs.js";
import { Task } from "./task.js";
import { Finder, Tasks } from "./tasks.js";
import { clock, count, day, dollars, duration, firstLine, plural, progress } from "./words.js";

const SPEEDS = [1, 10, 60];
const TABS = { graph: "Graph", timeline: "Timeline", table: "Table", log: "Log", files: "Files", gates: "Gates", cost: "Cost", plan: "Plan", settings: "Settings" };

export function Run({ state: now, act }) {
  if (!now.run) return html`<p>Reading the run …</p>`;
  const past = now.past?.run ? now.past : null;
  const state = past ? { ...now, run: past.run, rows: past.rows, graph: past.graph } : now;
  const { run } = state, { tab, task } = state.place, rows = shownRows(state.rows);
  const row = task === null ? null : state.rows.get(task), tabProps = { state, rows, past, act };
  return html`
    <h1>${firstLine(run.change)}</h1>
    <${Summary} run=${run} end=${past?.time} />
    ${!past && run.waiting.length > 0 && html`<p class="why"><a href=${runPlace({ run: run.id, task: run.waiting[0] })}>⚑ ${run.waiting.length === 1 ? `Task ${run.waiting[0]} needs you` : `${run.waiting.length} tasks need you`}: open ${run.waiting.length === 1 ? "it" : "the first"}</a></p>`}
    <${Moments} now=${now} past=${past} act=${act} />
    ${!past && html`<${Commands} state=${state} act=${act} />`}
    ${state.linking !== null && html`<p class="hint" role="status">${state.linking ? `Now choose the task that task ${state.linking} must wait for, or no longer.` : "Choose the task that is to wait, in the graph or the table. Esc leaves."}</p>`}
    <div class="columns">
      <section aria-label=${TABS[tab]}>
        <${Tabs} tabs=${TABS} chosen=${tab} label="Parts of the run" choose=${act.showTab} />
        ${["graph", "table"].includes(tab) && html`<${Finder} state=${state} act=${act} />`}
        ${tab === "graph" && html`<${Graph} graph=${state.graph} rows=${state.rows} shown=${rows} chosen=${task} linking=${state.linking} pick=${act.pick} />`}
        ${["graph", "table"].includes(tab) && html`<${Tasks} rows=${rows} state=${state} end=${past?.time} act=${act} />`}
        ${tab === "timeline" && html`<${Timeline} ...${tabProps} />`}
        ${tab === "log" && html`<${Log} ...${tabProps} />`}
        ${tab === "files" && html`<${Files} ...${tabProps} />`}
        ${tab === "gates" && html`<${Gates} ...${tabProps} />`}
        ${tab === "cost" && html`<${Costs} ...${tabProps} />`}
        ${tab === "plan" && html`<${RunPlan} ...${tabProps} />`}
        ${tab === "settings" && html`<${RunSettings} ...${tabProps} />`}
      </section>
      ${row && html`<${Task} key=${task} row=${row} state=${state} past=${past} act=${act} />`}
    </div>`;
}

function Commands({ state, act }) {
  const { run } = state, isRunning = run.state === "running";
  const ask = (question) => () => act.update({ asking: question });
  return html`<div class="buttons" role="group" aria-label="Commands">
    ${isRunning && html`
    <button onClick=${() => act.send(run.paused ? "/unpause" : "/pause")}>${run.paused ? "Unpause" : "Pause"}</button>
    <button onClick=${ask(askBudget(act, run.limits.budget))}>Budget</button>
    <button onClick=${ask(askTask(act))}>Add a task</button>
    <button aria-pressed=${state.linking !== null} onClick=${act.toggleLinking}>Link (l)</button>
    <button onClick=${ask(askReplan(act))}>Replan</button>
    <button class="danger" onClick=${ask(askCancel(act))}>Cancel the run</button>`}
    ${!isRunning && html`
    <button disabled=${run.exit_code === 0 || run.elsewhere} onClick=${() => act.resume(run.id)}>Resume</button>
    <button disabled=${run.elsewhere} onClick=${() => act.restart(run.id)}>Start over</button>`}
    <button disabled=${run.exit_code === null} onClick=${() => openFile(`/runs/${run.id}/report`)}>Report</button>
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
    <button data-often onClick=${() => act.play(now.playing ? 0 : now.speed)}>${now.playing ? "Stop playing" : "Play"}</button>
    <label class="line"><span class="unseen">Speed</span><select aria-label="Speed" value=${now.speed} onChange=${(event) => act.changeSpeed(Number(event.target.value))}>
      ${SPEEDS.map((speed) => html`<option value=${speed}>${speed}x</option>`)}</select></label>
    <button disabled=${!past} onClick=${() => act.update({ past: null, playing: 0 })}>Now</button>
  </div>`;
}

function Summary({ run, end }) {
  const { all, done, failed } = progress(run.tasks);
  const limit = run.limits.budget, since = (run.ended ?? end ?? Date.now()) - run.started;
  const reserved = run.limits.reserved ? `, ${dollars(run.limits.reserved)} of it assumed` : "";
  return html`
    <p class="verdict ${run.exit_code === 0 ? "good" : run.exit_code === null ? "" : "bad"}"><${Sign} state=${run.state} words=${run.paused ? "paused" : run.state} /> ${run.verdict}</p>
    <progress max=${all || 1} value=${done} aria-label="Tasks done"></progress>
    <${Facts} facts=${[
      ["tasks", `${done} of ${all}${failed ? `, ${failed} failed` : ""}`],
      ["cost", `${dollars(run.usage.cost)}${limit ? ` of ${dollars(limit)}` : ""}${reserved}`],
      ["tokens", count(run.usage.total_tokens)], run.state !== "interrupted" && ["time", duration(since / 1000)], ["model", run.model], ["started", day(run.started)],
      ...run.gates.map((gate) => [gate.name, gate.ok ? "✓ passed" : "✗ failed"]),
    ]} />
    ${run.problem && html`<p class="problem" role="alert">The store does not answer: ${run.problem} The last known state is shown.</p>`}
    ${run.elsewhere && html`<p class="hint">This run is of another clone: ${plural(all, "task")} can be read here, not steered.</p>`}`;
}
