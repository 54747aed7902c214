// Agents at work, files held, figures of all runs, and whether the server and its stores are well.

import { html } from "./html.js";
import { Facts, Sign } from "./parts.js";
import { runPlace } from "./places.js";
import { count, dollars, duration, stateWords } from "./words.js";

const reading = html`<p>Reading …</p>`;

export function Agents({ state }) {
  const agents = state.lists.agents;
  return html`<h1>Agents at work</h1>
    ${!agents ? reading : agents.length === 0 ? html`<p>No agent is at work.</p>` : html`<table aria-label="Agents at work">
      <thead><tr><th scope="col">agent</th><th scope="col">state</th><th scope="col">task</th><th scope="col">model</th><th scope="col" class="n">since</th><th scope="col" class="n">cost</th></tr></thead>
      <tbody>${agents.map((each) => html`<tr key=${each.id}><td><a data-row href=${runPlace({ run: each.run, task: each.task })}>${each.agent}</a> <span class="hint">attempt ${each.attempt}</span></td>
        <td><${Sign} state="active" words=${each.waits || each.phase} /></td><td class="text">${each.title || each.files.join(", ")}</td><td>${each.model}</td>
        <td class="n">${duration((Date.now() - each.started) / 1000)}</td><td class="n">${dollars(each.usage.cost)}</td></tr>`)}</tbody></table>`}
    <h2>More agents</h2>
    <p>A run has as many agents at once as its <code>--max-agents</code>. Another run beside it holds its own files, so that no two agents change one file. In a terminal of the repository:</p>
    <pre tabindex="0" aria-label="A command">aider-orchestrator "what to change" --files src --max-agents 4</pre>
    <p>or carry out a plan: <code>aider-orchestrator execute PLAN</code>; in one of many jobs, a part of a plan that was cut: <code>aider-orchestrator execute PLAN --shard I/N</code>; or <a href="#/new">start a run here</a>.</p>`;
}

export function Locks({ state }) {
  const locks = state.lists.locks;
  return html`<h1>Files held</h1>
    <p class="hint">A run holds the files that its tasks change, so that another run does not change them meanwhile. It renews its hold; a run that died loses it.</p>
    ${!locks ? reading : locks.length === 0 ? html`<p>No run holds a file.</p>` : html`<table aria-label="Files held">
      <thead><tr><th scope="col">file</th><th scope="col">run</th><th scope="col" class="n">for another</th></tr></thead>
      <tbody>${locks.map((lock) => html`<tr key=${lock.repository + lock.path}><td class="text"><code>${lock.path}</code></td>
        <td><a data-row href=${runPlace({ run: lock.run })}>${lock.run}</a></td><td class="n">${duration(lock.seconds_left)}</td></tr>`)}</tbody></table>`}`;
}

export function Stats({ state }) {
  const stats = state.lists.stats;
  if (!stats) return html`<h1>Figures</h1>${reading}`;
  const table = (title, counts) => html`<section><h2>${title}</h2><table aria-label=${title}><tbody>${Object.entries(counts).filter(([name, number]) => number && name !== "total").map(([name, number]) => html`
    <tr key=${name}><th scope="row"><${Sign} state=${name} words=${stateWords(name).replaceAll("_", " ")} /></th><td class="n">${count(number)}</td></tr>`)}</tbody></table></section>`;
  return html`<h1>Figures</h1>
    <${Facts} facts=${[
      ["cost today", dollars(stats.costToday)], ["cost of all runs", dollars(stats.cost)], ["tasks that ended well", stats.successRate === null ? "none has ended" : `${Math.round(100 * stats.successRate)} %`],
      ["agents at work", stats.agents.working], ["decisions open", stats.exceptions.open],
    ]} />
    <div class="figures">${table("Runs", stats.runs)}${table("Tasks", stats.tasks)}${table("Verdicts of attempts", stats.verdicts)}</div>
    <p class="hint">Prometheus reads more at <code>/metrics</code>, with the same token.</p>`;
}

export function Health({ state }) {
  const health = state.lists.health;
  if (!health) return html`<h1>Health</h1>${state.error ? html`<p>✗ A store does not answer.</p>` : reading}`;
  const { database } = health.checks;
  return html`<h1>Health</h1>
    <p class=${health.status === "ok" ? "good" : "problem"}>${health.status === "ok" ? "✓ The server and its stores answer." : `✗ ${database.message ?? health.status}`}</p>
    <${Facts} facts=${[["version", health.version], ["database", database.status], database.latencyMs !== undefined && ["it answered in", `${database.latencyMs} ms`], ["at", health.timestamp]]} />
    <p class="hint">What a run needs is told by <code>aider-orchestrator doctor</code>; the store is checked by <code>aider-orchestrator store check</code>.</p>`;
}
