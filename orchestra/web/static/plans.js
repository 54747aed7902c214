// Plans: the list, and one plan as cards that can be changed, checked, approved and carried out.

import { Component } from "./preact.js";
import { Graph } from "./graph.js";
import { html } from "./html.js";
import { estimateWords } from "./new_run.js";
import { Facts } from "./parts.js";
import { planPlace } from "./places.js";
import { firstLine, splitWords } from "./words.js";

export function Plans({ state }) {
  const plans = state.lists.plans;
  return html`<h1>Plans</h1>
    <p class="hint">A plan is a graph of tasks that you can read and change before any agent begins. Make one with <a href="#/new">New run</a>, “Plan first”, or in a terminal: <code>aider-orchestrator plan "what to change"</code></p>
    ${!plans ? html`<p>Reading …</p>` : plans.length === 0 ? html`<p>There are no plans here yet.</p>` : html`<table aria-label="Plans">
      <thead><tr><th scope="col">plan</th><th scope="col">goal</th><th scope="col">tasks</th><th scope="col">approved</th></tr></thead>
      <tbody>${plans.map((plan) => html`<tr key=${plan.repository + plan.name}><td><a data-row href=${planPlace(plan.name, plan.repository)}>${plan.name}</a></td>
        <td class="text">${plan.problem ? html`<span class="problem">${plan.problem}</span>` : firstLine(plan.goal ?? "")}</td><td>${plan.tasks ?? ""}</td><td>${plan.approved ? "✓ approved" : "○ not yet"}</td></tr>`)}</tbody></table>`}`;
}

export class Plan extends Component {
  constructor() {
    super();
    this.state = { isText: false, chosen: null };
  }

  render({ state, act }, { isText, chosen }) {
    const { plan } = state, isBusy = state.sending.has("plan") || state.sending.has("execute");
    if (!plan) return html`<p>Reading the plan …</p>`;
    const rows = new Map(plan.tasks.map((item) => [item.number, planRow(item, plan)]));
    const jump = (number) => { this.setState({ chosen: number }); document.getElementById(`task-${number}`)?.focus(); };
    return html`<h1>${firstLine(plan.goal ?? plan.name)}</h1>
      <${Facts} facts=${[["plan", plan.name], ["tasks", plan.tasks.length], ["approved", plan.approved ? "✓ yes" : "○ not yet"], plan.estimate && ["estimate", estimateWords(plan.estimate)], plan.prd && ["requirements", plan.prd]]} />
      ${plan.problems.map((words) => html`<p class="problem">✗ ${words}</p>`)}
      ${plan.problems.length === 0 && plan.tasks.length > 0 && html`<p class="good">✓ It can be executed.</p>`}
      ${plan.repairs.map((words) => html`<p class="hint">Will be corrected: ${words}</p>`)}
      <div class="buttons" role="group" aria-label="Commands for the plan">
        <button disabled=${isBusy} onClick=${act.readPlan}>Check</button>
        <button disabled=${isBusy || plan.approved || plan.problems.length > 0} onClick=${act.approvePlan}>Approve</button>
        <button class="main" disabled=${isBusy || plan.problems.length > 0} onClick=${act.executePlan}>Execute</button>
        <button disabled=${isBusy} onClick=${() => act.update({ asking: askNew(act) })}>Add a task</button>
        <button aria-pressed=${isText} onClick=${() => this.setState({ isText: !isText })}>As a file</button>
      </div>
      ${isText ? html`<${PlanText} key=${plan.etag} plan=${plan} act=${act} />` : html`
      ${plan.graph && plan.tasks.length > 1 && html`<${Graph} graph=${plan.graph} rows=${rows} shown=${[...rows.values()]} chosen=${chosen} linking=${null} pick=${jump} />`}
      <ol class="cards">${plan.tasks.map((item, at) => html`<${Card} key=${item.id} item=${item} at=${at} plan=${plan} act=${act} isBusy=${isBusy} />`)}</ol>`}`;
  }
}

const planRow = (item, plan) => ({
  id: item.number, agent: item.id, title: item.title || firstLine(item.brief), state: item.done ? "complete" : "planned", phase: item.done ? "done" : "planned",
  role: item.role, files: item.files, needs: item.needs.map((need) => plan.tasks.find((each) => each.id === need)?.number).filter(Boolean), usage: {},
});

function Card({ item, at, plan, act, isBusy }) {
  const ids = plan.tasks.map((each) => each.id), others = ids.filter((id) => id !== item.id);
  const edit = (...words) => () => act.editPlan(words);
  const ask = (question) => () => act.update({ asking: question });
  const free = others.filter((id) => !item.needs.includes(id));
  return html`<li><article id=${`task-${item.number}`} tabindex="-1" aria-label=${`Task ${item.id}`}>
    <h2>${item.id}: ${item.title || firstLine(item.brief)} ${item.proposed && html`<span class="hint">proposed by an agent</span>`}</h2>
    <p>${item.brief}</p>
    <p class="hint">${item.role && `${item.role}; `}${item.files.join(", ")}${item.priority ? `; priority ${item.priority}` : ""}${plan.estimate?.tasks?.[item.id] ? `; ${estimateWords(plan.estimate.tasks[item.id])}` : ""}</p>
    <p>needs ${item.needs.length === 0 ? "nothing" : item.needs.map((need) => html`<button class="tag" disabled=${isBusy} onClick=${edit("disconnect", item.id, need)} title="No longer needs it">${need} ×</button> `)}
      ${free.length > 0 && html`<select aria-label=${`A task that ${item.id} needs`} disabled=${isBusy} onChange=${(event) => { const need = event.target.value; event.target.value = ""; if (need) act.editPlan(["connect", item.id, need]); }}>
        <option value="">+ need …</option>${free.map((id) => html`<option value=${id}>${id}</option>`)}</select>`}</p>
    <div class="buttons" role="group" aria-label=${`Commands for ${item.id}`}>
      <button data-often disabled=${isBusy || at === 0} onClick=${edit("move", item.id, "before", ids[at - 1])}>↑ Earlier</button>
      <button data-often disabled=${isBusy || at === ids.length - 1} onClick=${edit("move", item.id, "after", ids[at + 1])}>↓ Later</button>
      <button disabled=${isBusy} onClick=${ask(askItem(act, item))}>Edit</button>
      <button disabled=${isBusy || item.files.length < 2} onClick=${ask(askSplit(act, item))}>Split</button>
      <button disabled=${isBusy || others.length === 0} onClick=${ask(askMerge(act, item, others))}>Merge</button>
      <button class="danger" disabled=${isBusy} onClick=${edit("remove", item.id)}>Remove</button>
    </div></article></li>`;
}

function PlanText({ plan, act }) {
  const save = (event) => {
    event.preventDefault();
    act.savePlan(new FormData(event.target).get("toml"));
  };
  return html`<form onSubmit=${save}><label>The file of the plan<textarea class="code" name="toml" rows="24" spellcheck="false" defaultValue=${plan.toml}></textarea></label>
    <div class="buttons"><button type="submit">Save</button></div><p class="hint">If the file was changed elsewhere meanwhile, nothing is written and you are told.</p></form>`;
}

const field = (name, label, more = {}) => ({ name, label, ...more });
const askNew = (act) => ({
  title: "Add a task to the plan", fields: [field("id", "A short name"), field("title", "What it is to do")],
  send: (given) => act.editPlan(["add", given.id, given.title]),
});
const askSplit = (act, item) => ({
  title: `Split ${item.id}`, note: `Its files: ${item.files.join(", ")}`, fields: [field("id", "A short name of the new task"), field("files", "The files that go to it, with blanks between them")],
  send: (given) => act.editPlan(["split", item.id, given.id, ...splitWords(given.files)]),
});
const askMerge = (act, item, others) => ({
  title: `Merge another task into ${item.id}`, note: `The others: ${others.join(", ")}`, fields: [field("id", "Its name")], send: (given) => act.editPlan(["merge", item.id, given.id]),
});
const askItem = (act, item) => ({
  title: `Edit ${item.id}`, fields: [field("title", "Title", { value: item.title, optional: true }), field("brief", "Brief", { long: true, value: item.brief }), field("files", "Its files, with blanks between them", { value: item.files.join(" ") })],
  async send(given) {
    if (given.title && given.title !== item.title) await act.editPlan(["set", item.id, "title", given.title]);
    if (given.brief !== item.brief) await act.editPlan(["set", item.id, "brief", given.brief]);
    if (given.files.trim() !== item.files.join(" ")) await act.editPlan(["files", item.id, ...splitWords(given.files)]);
    act.update({ asking: null });
  },
});
