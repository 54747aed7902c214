// What bench/web_pages.py measures: the canvas graph of the dashboard, and SVG as it was drawn before, for comparison.

import { render, Component } from "/static/preact.js";
import { Graph } from "/static/graph.js";
import { html } from "/static/html.js";
import { SIGNS, TASK_STATES } from "/static/words.js";

const place = document.getElementById("place"), frame = () => new Promise(requestAnimationFrame);
let graph, rows, shown, mounted, Kind;

class Canvas extends Graph {
  componentDidMount() {
    mounted = this;
    super.componentDidMount();
  }
}

class Svg extends Component {
  componentDidMount() {
    Object.assign(this, { x: 0, y: 0 });
    mounted = this;
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.all.style.transform = `translate(${this.x}px, ${this.y}px)`;
  }

  render() {
    const box = ([id, x, y]) => {
      const row = rows.get(id);
      return html`<g key=${id} transform=${`translate(${x} ${y})`}><rect rx="6" width="190" height="40" class=${row.state} />
        <text x="8" y="17">${SIGNS[row.state]} ${row.agent}</text><text x="8" y="33">${row.title.slice(0, 24)}</text></g>`;
    };
    return html`<svg width="1280" height="800" viewBox=${`0 0 ${graph.width} ${graph.height}`}>
      <g ref=${(all) => { this.all = all; }}>${graph.edges.map((edge) => html`<path fill="none" stroke="gray" d=${edge} />`)}
      ${graph.boxes.map(box)}</g></svg>`;
  }
}

const draw = () => render(html`<${Kind} graph=${graph} rows=${rows} shown=${shown} chosen=${null} linking=${null} pick=${() => {}} />`, place);

window.begin = async (given, kind) => {
  graph = given.graph;
  rows = new Map(given.rows.map((row) => [row.id, row]));
  shown = [...rows.values()];
  Kind = { canvas: Canvas, svg: Svg }[kind];
  draw();
  for (let n = 0; n < 3; n++) await frame();
};

window.change = async (times, each) => {
  const ids = [...rows.keys()];
  for (let n = 0; n < times; n++) {
    rows = new Map(rows);
    for (let k = 0; k < each; k++) {
      const id = ids[(n * 7919 + k * 104729) % ids.length];
      rows.set(id, { ...rows.get(id), state: TASK_STATES[(n + k) % TASK_STATES.length] });
    }
    draw();
    await frame();
  }
};

window.pan = async (frames) => {
  for (let n = 0; n < frames; n++) {
    mounted.move(n < frames / 2 ? 4 : -4, 1);
    await frame();
  }
};

window.near = () => mounted.zoom?.(8);
window.isReady = true;
