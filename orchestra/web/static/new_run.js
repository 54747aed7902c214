// The form of a new run: start it at once, see what it would cost, or make a plan first. The page keeps what is typed.

import { askRepository } from "./dialogs.js";
import { html } from "./html.js";
import { count, dollars, plural, splitWords } from "./words.js";

export function NewRun({ state, act }) {
  const { repositories, roots, models, settings, busy, plan, problem } = state.form;
  const submit = (event) => {
    event.preventDefault();
    act.start(readForm(event.target));
  };
  const onForm = (send) => (event) => {
    const form = event.target.closest("form");
    if (form.reportValidity()) send(readForm(form));
  };
  return html`<h1>New run</h1>
    <form class="new" onSubmit=${submit}>
      <label>What to change<textarea name="change" rows="5" required autofocus></textarea></label>
      ${repositories.length > 1 && html`<label>Repository<select name="repository">
        ${repositories.map((path) => html`<option key=${path} selected=${path === state.form.repository}>${path}</option>`)}</select></label>`}
      ${roots.length > 0 && html`<p><button type="button" onClick=${() => act.update({ asking: askRepository(act, roots) })}>Add a repository</button></p>`}
      <label>Files, directories and globs, with blanks between them<input name="files" placeholder="src tests/test_cart.py" /></label>
      <label class="line"><input type="checkbox" name="prd" />Have Gemini write requirements first; without files it chooses them</label>
      <div class="fields">
        <label>Model<input name="model" list="models" placeholder=${settings.model} /></label>
        <datalist id="models">${models.map((name) => html`<option value=${name} />`)}</datalist>
        <label>Agents at once<input name="max-agents" type="number" min="1" step="1" placeholder=${settings["max-agents"] || "as many as fit"} /></label>
        <label>Budget in dollars<input name="budget" type="number" min="0.01" step="any" placeholder=${settings.budget || "no limit"} /></label>
        <label>Tries again after a failure<input name="retries" type="number" min="0" step="1" placeholder=${settings.retries || "4"} /></label>
      </div>
      <div class="buttons">
        <button class="main" type="submit" disabled=${busy !== ""}>Start</button>
        <button type="button" disabled=${busy !== ""} onClick=${onForm(act.estimate)}>Estimate</button>
        <button type="button" disabled=${busy !== ""} onClick=${onForm(act.planFirst)}>Plan first</button>
      </div>
      <p class="hint">Estimate asks no model. Plan first makes a plan to read, change and approve; nothing else happens before you execute it. Checks (tests, linters) are those of the repository's settings.</p>
    </form>
    ${busy && html`<p role="status">${busy}</p>`}
    ${problem && html`<p class="problem" role="alert">It did not start.</p><pre>${problem}</pre>`}
    ${plan && html`<${Estimate} plan=${plan} />`}`;
}

/** The options by the names of their flags; what is empty is left out. */
function readForm(form) {
  const given = Object.fromEntries(new FormData(form));
  const values = { change: given.change, "no-prd": !given.prd };
  if (given.repository) values.repository = given.repository;
  if (given.files.trim()) values.files = splitWords(given.files);
  if (given.model.trim()) values.model = given.model.trim();
  for (const name of ["max-agents", "budget", "retries"]) if (given[name]) values[name] = Number(given[name]);
  return values;
}

const range = ([low, high], words) => (words(low) === words(high) ? words(low) : `${words(low)} to ${words(high)}`);
const minutes = (value) => (value < 1 ? `${Math.ceil(value * 60)} s` : `${Math.ceil(value)} min`);

export const estimateWords = ({ tokens, dollars: cost, minutes: time }) => `${cost ? range(cost, dollars) : "cost unknown"}, ${range(tokens, count)} tokens, ${range(time, minutes)}`;

function Estimate({ plan }) {
  return html`<h2>Estimate</h2>
    <p>${`${plural(plan.tasks.length, "task")}, ${plural(plan.agents, "agent")} at once: ${estimateWords(plan.estimate)}.`}</p>
    <p class="hint">This ${plan.estimate.basis}.</p>
    ${plan.notes.map((note) => html`<p class="hint">${note}</p>`)}
    <table class="plan"><thead><tr><th scope="col">agent</th><th scope="col">files</th><th scope="col" class="n">cost</th></tr></thead>
      <tbody>${plan.tasks.map((task) => html`<tr key=${task.agent}><td>${task.agent}</td>
        <td class="text">${task.files.map((file) => file.path).join(", ")}</td>
        <td class="n">${task.estimate.dollars ? range(task.estimate.dollars, dollars) : "unknown"}</td></tr>`)}</tbody></table>`;
}
