// The table of tasks. It is the twin of the graph for those who do not see it, and all there is on a phone.

import { Component } from "./preact.js";
import { html } from "./html.js";
import { Sign } from "./parts.js";
import { count, dollars, duration, plural, SIGNS, stateWords, TASK_STATES, taskName } from "./words.js";

const PAGE = 200;

export function Finder({ state, act }) {
  const counts = Object.groupBy([...state.rows.values()], (row) => row.state);
  const toggle = (name) => {
    const hidden = new Set(state.hidden);
    if (!hidden.delete(name)) hidden.add(name);
    act.update({ hidden });
  };
  return html`<div class="tools finder">
    <input type="search" placeholder="Find a task (/)" aria-label="Find a task" value=${state.find} onInput=${(event) => act.update({ find: event.target.value })} />
    ${TASK_STATES.filter((name) => counts[name]).map((name) => html`
      <button key=${name} class="filter" aria-pressed=${!state.hidden.has(name)} onClick=${() => toggle(name)} title="Show or hide them">${SIGNS[name]} ${counts[name].length} ${stateWords(name)}</button>`)}
  </div>`;
}

export function Tasks({ rows, state, end, act }) {
  const shown = rows.slice(0, state.shown || PAGE);
  return html`<table class="tasks" aria-label="Tasks" aria-rowcount=${rows.length + 1}>
    <thead><tr><th scope="col">task</th><th scope="col">state</th><th scope="col">what</th><th scope="col" class="n">tries</th><th scope="col" class="n">tokens</th><th scope="col" class="n">cost</th></tr></thead>
    <tbody>${shown.map((row) => html`<${TaskRow} key=${row.id} row=${row} isChosen=${state.place.task === row.id} second=${row.since ? Math.floor(((end ?? Date.now()) - row.since) / 1000) : null} pick=${act.pick} />`)}</tbody></table>
    ${rows.length === 0 && html`<p class="hint">No task fits.</p>`}
    ${shown.length < rows.length && html`<button onClick=${() => act.update({ shown: shown.length + 5 * PAGE })}>Show more of ${plural(rows.length, "task")}</button>`}`;
}

/** One row, drawn again only if it changed. */
class TaskRow extends Component {
  shouldComponentUpdate(next) {
    return ["row", "isChosen", "second"].some((name) => next[name] !== this.props[name]);
  }

  render({ row, isChosen, second, pick }) {
    return html`<tr class=${isChosen ? "chosen" : ""} data-task=${row.id}>
      <td><button class="link" aria-current=${isChosen ? "true" : null} onClick=${() => pick(row.id)}>${row.agent}</button></td>
      <td><${Sign} state=${row.state} words=${second === null ? row.phase : `${row.phase}, ${duration(second)}`} /></td>
      <td class="text">${taskName(row)}${row.needs.length > 0 && html` <span class="hint">needs ${row.needs.join(", ")}</span>`}</td>
      <td class="n">${row.attempts}</td><td class="n">${count(row.usage.total_tokens)}</td><td class="n">${dollars(row.usage.cost)}</td>
    </tr>`;
  }
}
