// One task beside its run: why it is as it is, what it cost, what it changed, and what can be done.

import { Component } from "./preact.js";
import { askAbandon, askBrief, askEdit, askHint, askSpawn } from "./dialogs.js";
import { html } from "./html.js";
import { Facts, Patch, Sign, Tabs } from "./parts.js";
import { runPlace } from "./places.js";
import { TaskGates } from "./run_tabs.js";
import { clock, count, dollars, duration, plural, splitPatch } from "./words.js";

const PARTS = { brief: "Brief", attempts: "Attempts", reviews: "Reviews", diff: "Diff", conversation: "Conversation", gates: "Gates" };

/** The panel. It takes the focus when it opens and gives it back when it is closed. */
export class Task extends Component {
  componentDidMount() {
    this.before = document.activeElement;
    if (this.before?.closest?.("main") || this.before === document.body) this.heading?.focus();
  }

  componentWillUnmount() {
    const back = document.querySelector(`[data-task="${this.props.row.id}"] button`) ?? this.before;
    if (document.activeElement?.closest?.("aside")) back?.focus();
  }

  render({ row, state, past, act }) {
    const { run } = state, part = state.place.part || (["failed", "waiting_human"].includes(row.state) ? "diff" : "brief");
    return html`<aside aria-label=${`Task ${row.id}`}>
      <h2 tabindex="-1" ref=${(heading) => { this.heading = heading ?? this.heading; }}>${row.agent}: ${row.title} <button aria-label="Close the task" onClick=${() => act.select(null)}>×</button></h2>
      <p><${Sign} state=${row.state} words=${row.phase} /> ${row.role && `as ${row.role}`}</p>
      <${Why} row=${row} />
      <${Facts} facts=${[
        ["cost", dollars(row.usage.cost)], ["tokens", count(row.usage.total_tokens)], ["tries", row.attempts], row.seconds > 0 && ["time", duration(row.seconds)],
        ["files", row.files.join(", ")], row.needs.length > 0 && ["needs", row.needs.map((need) => html`<a href=${runPlace({ ...state.place, task: need })}>${need}</a> `)],
        row.branch && ["branch", html`<code>${row.branch}</code>`],
      ]} />
      ${!past && html`<${TaskCommands} row=${row} state=${state} act=${act} />`}
      ${past ? html`<p class="hint">Its attempts, diff and conversation are shown when the slider is at its end.</p>` : html`
      <${Tabs} tabs=${PARTS} chosen=${part} label="Parts of the task" choose=${act.showPart} />
      ${state.detail ? html`<${Part} part=${part} detail=${state.detail} row=${row} state=${state} act=${act} />` : html`<p>Reading …</p>`}`}
    </aside>`;
  }
}

function Why({ row }) {
  const words = row.asks || row.held || row.waits || row.cause;
  if (!words) return null;
  const isBad = row.asks || row.held || ["failed", "waiting_human"].includes(row.state);
  return html`<p class=${isBad ? "why" : ""}>${isBad && html`<b>Why: </b>`}${words} ${row.remedy}</p>`;
}

function TaskCommands({ row, state, act }) {
  const { run } = state, isRunning = run.state === "running";
  const isIdle = ["failed", "waiting_human"].includes(row.state), waits = ["planned", "ready"].includes(row.state) && !row.attempts;
  const ask = (question) => () => act.update({ asking: question });
  const needing = [...state.rows.values()].filter((each) => each.needs.includes(row.id)).map((each) => each.id);
  const abandon = (send) => ask(askAbandon(act, row, needing, send));
  return html`<div class="buttons" role="group" aria-label="Commands for the task">
    ${isIdle && html`
      <button class="main" onClick=${ask(askHint(act, run.id, row))}>Retry with a hint</button>
      <button onClick=${ask(askBrief(act, run.id, row, state.detail?.brief))}>Edit the brief</button>
      <button onClick=${() => act.decide(run.id, row, "take")}>Take it</button>
      <button onClick=${ask(askSpawn(act, run.id, row))}>Another task instead</button>
      <button class="danger" onClick=${abandon(() => act.decide(run.id, row, "abandon"))}>Abandon</button>`}
    ${waits && isRunning && html`
      <button onClick=${ask(askEdit(act, row))}>Edit</button>
      <button class="danger" onClick=${abandon(() => act.send(`/tasks/${row.id}/abandon`))}>Abandon</button>`}
    ${row.state === "active" && isRunning && html`
      <button onClick=${() => act.send(`/tasks/${row.id}/interrupt`)}>Interrupt</button>
      <button class="danger" onClick=${() => act.send(`/tasks/${row.id}/cancel`)}>Cancel</button>`}
    </div>
    ${isIdle && !isRunning && html`<p class="hint">No process works on this run: your decision resumes it. In a terminal: <code>${`aider-orchestrator resolve ${run.id} ${row.id} --retry "a hint"`}</code></p>`}`;
}

function Part({ part, detail, row, state, act }) {
  const tries = [...detail.attempts].reverse();
  if (part === "brief") return html`<pre tabindex="0" aria-label="Brief">${detail.brief}</pre>`;
  if (part === "reviews") return html`<${Reviews} detail=${detail} />`;
  if (!tries.length) return html`<p class="hint">It has not begun.</p>`;
  return tries.map((each, n) => html`<section key=${each.number} aria-label=${`Attempt ${each.number}`}>
    <h3>Attempt ${each.number}: ${each.verdict.replaceAll("_", " ") || "running"}</h3>
    ${part === "attempts" && html`<p>${each.cause} ${each.remedy}</p>
      ${each.failures?.map((words) => html`<p class="hint">${words}</p>`)}
      <p class="hint">${each.started > 0 && `${clock(each.started)}, `}${each.model}, ${duration(each.seconds)}, ${plural(each.usage.requests, "request")}, ${count(each.usage.total_tokens)} tokens, ${dollars(each.usage.cost)}${each.commit && `, commit ${each.commit.slice(0, 10)}`}</p>`}
    ${part === "diff" && (each.diff ? html`<${Patch} key=${`${row.id} ${each.number}`} files=${splitPatch(each.diff)} />` : html`<p class="hint">It changed nothing.</p>`)}
    ${part === "conversation" && html`<${Conversation} attempt=${each} isLast=${n === 0} />`}
    ${part === "gates" && html`<${TaskGates} state=${state} task=${row.id} attempt=${each.number} gates=${each.gates} act=${act} />`}
  </section>`);
}

function Reviews({ detail }) {
  const nothing = !detail.reviews?.length && !detail.decisions?.length;
  if (nothing) return html`<p class="hint">No critic has reviewed it, and no person has decided about it.</p>`;
  return html`${(detail.reviews ?? []).map((each) => html`<article><h3>${each.missing ? "no review" : each.ok ? "✓ accepted" : "✗ refused"}, attempt ${each.attempt}</h3>
      ${(each.reasons ?? []).map((reason) => html`<p>${reason}</p>`)}${each.missing && html`<p class="hint">${each.missing}</p>`}</article>`)}
    ${(detail.decisions ?? []).map((each) => html`<p>A person decided: ${each.action}${each.asked ? html`, asked: <span class="hint">${each.asked}</span>` : ""}</p>`)}`;
}

function Conversation({ attempt, isLast }) {
  if (!attempt.conversation.length) return html`<p class="hint">There is no conversation.</p>`;
  return html`<details open=${isLast}><summary>${plural(attempt.conversation.length, "reply").replace("replys", "replies")}</summary>
    ${attempt.conversation.map((turn) => html`
      ${turn.asked.filter(([role]) => role !== "system").map(([role, text]) => html`<details><summary>${role}</summary><pre tabindex="0" aria-label=${role}>${text}</pre></details>`)}
      <pre class="reply" tabindex="0" aria-label="reply">${turn.said}</pre>`)}</details>`;
}
