// The form of a new run. It keeps what is typed in the page; main.js sends it.

import { html } from "./html.js";
import { dollars, count, plural } from "./words.js";

export function NewRun({ state, act }) {
  const { repositories, models, settings, busy, plan, problem } = state.form;
  const submit = (event) => {
    event.preventDefault();
    act.start(readForm(event.target));
  };
  const estimate = (event) => {
    const form = event.target.closest("form");
    if (form.reportValidity()) act.estimate(readForm(form));
  };
  return html`<h1>New run</h1>
    <form class="new" onSubmit=${submit}>
      <label>What to change<textarea name="change" rows="5" required autofocus></textarea></label>
      ${repositories.length > 1 && html`<label>Repository<select name="repository">
        ${repositories.map((path) => html`<option>${path}</option>`)}</select></label>`}
      <label>Files, directories and globs, with blanks between them<input name="files" placeholder="src tests/test_cart.py" /></label>
      <label class="line"><input type="checkbox" name="prd" />Have Gemini write requirements first; without files it chooses them</label>
      <div class="fields">
        <label>Model<input name="model" list="models" placeholder=${settings.model} /></label>
        <datalist id="models">${models.map((name) => html`<option value=${name} />`)}</datalist>
        <label>Agents at once<input name="max-agents" type="number" min="1" step="1" placeholder=${settings["max-agents"] || "as many as fit"} /></label>
        <label>Budget in dollars<input name="budget" type="number" min="0.01" step="any" placeholder=${settings.budget || "no limit"} /></label>
      </div>
      <div class="buttons">
        <button type="submit" disabled=${busy !== ""}>Start</button>
        <button type="button" disabled=${busy !== ""} onClick=${estimate}>Estimate</button>
      </div>
    </form>
    ${busy && html`<p role="status">${busy}</p>`}
    ${problem && html`<p class="problem" role="alert">The run did not start.</p><pre>${problem}</pre>`}
    ${plan && html`<${Plan} plan=${plan} />`}`;
}

/** The options by the names of their flags; what is empty is left out. */
function readForm(form) {
  const given = Object.fromEntries(new FormData(form));
  const values = { change: given.change, "no-prd": !given.prd };
  if (given.repository) values.repository = given.repository;
  if (given.files.trim()) values.files = given.files.trim().split(/\s+/);
  if (given.model.trim()) values.model = given.model.trim();
  for (const name of ["max-agents", "budget"]) if (given[name]) values[name] = Number(given[name]);
  return values;
}

const range = ([low, high], words) => (words(low) === words(high) ? words(low) : `${words(low)} to ${words(high)}`);
const minutes = (value) => (value < 1 ? `${Math.ceil(value * 60)} s` : `${Math.ceil(value)} min`);

function Plan({ plan }) {
  const { tokens, dollars: cost, minutes: time, basis } = plan.estimate;
  return html`<h2>Plan</h2>
    <p>${`${plural(plan.tasks.length, "task")}, ${plural(plan.agents, "agent")} at once: ${cost ? range(cost, dollars) : "cost unknown"}, ${range(tokens, count)} tokens, ${range(time, minutes)}.`}</p>
    <p class="hint">This ${basis}.</p>
    ${plan.notes.map((note) => html`<p class="hint">${note}</p>`)}
    <table class="plan"><thead><tr><th>agent</th><th>files</th><th class="n">cost</th></tr></thead>
      <tbody>${plan.tasks.map((task) => html`<tr key=${task.agent}><td>${task.agent}</td>
        <td class="text">${task.files.map((file) => file.path).join(", ")}</td>
        <td class="n">${task.estimate.dollars ? range(task.estimate.dollars, dollars) : "unknown"}</td></tr>`)}</tbody></table>`;
}
