// The graph of tasks, on two canvases: one for the lines, one for the tasks, so that a task that changed is drawn alone.
// While it is moved the canvases are only shifted; they are drawn again when it rests. The table of tasks is its twin for
// those who do not see it; the arrow keys walk along what tasks need.

import { Component } from "./preact.js";
import { BOX, clearNode, drawCounts, drawEdges, drawNode, drawNodes, FAR, groupColumns, indexGraph, LABEL_HEIGHT, readPalette, taskAt } from "./graph_drawing.js";
import { html } from "./html.js";
import { stateWords, taskName } from "./words.js";

const MARGIN = 240; // pixels around what is seen that are drawn too, so that moving shows them at once
const REST_MS = 120, SMALLEST = 0.04, LARGEST = 2, MOST_HEIGHT = 0.6, PADDING = 10;
const SMALL_PLAN = 40, READABLE = 0.75; // a small plan is moved about sooner than made unreadable

export class Graph extends Component {
  constructor() {
    super();
    this.view = { x: PADDING, y: PADDING, scale: 1 };
    this.focus = null;
    this.isFitted = true;
    this.drawn = new Map();
  }

  componentDidMount() {
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.frame);
    this.recolour = () => { this.palette = null; this.draw(); };
    this.queries = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
    for (const query of this.queries) query.addEventListener("change", this.recolour);
    addEventListener("themechange", this.recolour);
    this.frame.addEventListener("wheel", this.wheel, { passive: false });
    this.takeGraph();
  }

  componentWillUnmount() {
    this.observer.disconnect();
    clearTimeout(this.resting);
    for (const query of this.queries) query.removeEventListener("change", this.recolour);
    removeEventListener("themechange", this.recolour);
  }

  componentDidUpdate(before) {
    const { graph, rows, chosen, linking, shown } = this.props;
    if (graph !== before.graph) return this.takeGraph();
    if (shown.length !== before.shown.length) return this.draw();
    if (rows !== before.rows) this.redrawChanged();
    if (chosen !== before.chosen || linking !== before.linking) this.redraw([chosen, before.chosen, linking, before.linking]);
    return undefined;
  }

  // --- where it is seen from

  takeGraph() {
    const { graph, rows } = this.props;
    if (!graph) return;
    this.index = indexGraph(graph, rows);
    if (!this.index.boxes.has(this.focus)) this.focus = graph.boxes[0]?.[0] ?? null;
    this.resize();
  }

  resize() {
    if (!this.index || !this.frame.clientWidth) return;
    if (this.isFitted) this.fit();
    else this.draw();
  }

  fit() {
    const { graph } = this.props, width = this.frame.clientWidth - 2 * PADDING, most = Math.max(200, innerHeight * MOST_HEIGHT) - 2 * PADDING;
    const whole = Math.min(1, width / graph.width, most / graph.height), isSmall = graph.boxes.length <= SMALL_PLAN;
    const scale = isSmall && whole < READABLE ? READABLE : Math.max(SMALLEST, whole);
    const above = scale < FAR ? LABEL_HEIGHT : 0;
    this.isFitted = true;
    this.view = { x: PADDING, y: PADDING + above, scale };
    const height = Math.round(Math.min(most, graph.height * scale) + 2 * PADDING + above);
    this.frame.style.height = `${height}px`;
    this.draw();
    if (this.index.boxes.has(this.props.chosen)) this.showTask(this.props.chosen);
    this.isFitted = true;
  }

  zoom(factor, x = this.frame.clientWidth / 2, y = this.frame.clientHeight / 2) {
    const { view } = this, scale = Math.max(SMALLEST, Math.min(LARGEST, view.scale * factor)), by = scale / view.scale;
    this.view = { x: x - (x - view.x) * by, y: y - (y - view.y) * by, scale };
    this.isFitted = false;
    this.draw();
  }

  move(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.isFitted = false;
    const shiftX = this.view.x - this.at.x, shiftY = this.view.y - this.at.y;
    if (Math.abs(shiftX) > MARGIN || Math.abs(shiftY) > MARGIN) return this.draw();
    for (const canvas of [this.edges, this.nodes]) canvas.style.transform = `translate(${shiftX}px, ${shiftY}px)`;
    this.placeRing();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.draw(), REST_MS);
    return undefined;
  }

  // --- drawing

  draw() {
    if (!this.index || !this.frame.clientWidth) return;
    clearTimeout(this.resting);
    this.palette ??= readPalette(this.frame);
    const { x, y, scale } = this.at = this.view, width = this.frame.clientWidth + 2 * MARGIN, height = this.frame.clientHeight + 2 * MARGIN;
    const ratio = window.devicePixelRatio || 1;
    const [edges, nodes] = [this.edges, this.nodes].map((canvas) => {
      if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
      if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px`, left: `${-MARGIN}px`, top: `${-MARGIN}px`, transform: "" });
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * (MARGIN + x), ratio * (MARGIN + y));
      return context;
    });
    this.pen = nodes;
    const left = (-MARGIN - x) / scale, top = (-MARGIN - y) / scale;
    const seen = { left, top, right: left + width / scale, bottom: top + height / scale };
    drawEdges(edges, this.index, seen, scale, this.palette);
    drawNodes(nodes, this.index, this.props.rows, seen, this.look());
    if (scale < FAR) drawCounts(nodes, this.index, this.props.rows, scale, this.palette);
    this.drawn = this.props.rows;
    Object.assign(this.frame.dataset, { tasks: this.index.boxes.size, view: `${x} ${y} ${scale}` });
    this.placeRing();
  }

  look() {
    const { shown, chosen, linking, rows } = this.props;
    const fitting = shown.length < rows.size ? new Set(shown.map((row) => row.id)) : null;
    return { scale: this.at.scale, palette: this.palette, chosen, linking, fits: (id) => !fitting || fitting.has(id) };
  }

  redrawChanged() {
    const { rows } = this.props, changed = [];
    for (const [id, row] of rows) if (this.drawn.get(id) !== row) changed.push(id);
    if (changed.some((id) => !this.index?.boxes.has(id))) return; // the new layout is on its way
    this.drawn = rows;
    this.redraw(changed);
    if (changed.length && this.pen && this.at.scale < FAR) drawCounts(this.pen, this.index, rows, this.at.scale, this.palette);
  }

  redraw(tasks) {
    if (!this.pen || !this.index) return;
    const look = this.look();
    for (const id of new Set(tasks)) {
      const box = this.index.boxes.get(id), row = this.props.rows.get(id);
      if (!box || !row) continue;
      clearNode(this.pen, box);
      drawNode(this.pen, box, row, look);
    }
    this.placeRing();
  }

  /** The ring around the task that the keyboard is at. */
  placeRing() {
    const box = this.index?.boxes.get(this.focus), { x, y, scale } = this.view;
    if (!box) return;
    Object.assign(this.ring.style, { transform: `translate(${x + box.x * scale - 4}px, ${y + box.y * scale - 4}px)`, width: `${BOX.width * scale + 8}px`, height: `${BOX.height * scale + 8}px` });
  }

  // --- keys and pointer

  focusTask(id) {
    if (id === undefined || id === null) return;
    this.focus = id;
    this.showTask(id);
    this.placeRing();
    this.words.textContent = this.describe(id);
  }

  /** Move so that the task is seen. */
  showTask(id) {
    const { x, y } = this.index.boxes.get(id), { view, frame } = this, left = view.x + x * view.scale, top = view.y + y * view.scale;
    const out = (start, size, all) => (start < 0 ? -start + PADDING : start + size > all ? all - start - size - PADDING : 0);
    const dx = out(left, BOX.width * view.scale, frame.clientWidth), dy = out(top, BOX.height * view.scale, frame.clientHeight);
    if (dx || dy) this.move(dx, dy);
  }

  describe(id) {
    const row = this.props.rows.get(id);
    if (!row) return "";
    return `${row.agent}, ${taskName(row)}, ${row.phase || stateWords(row.state)}${row.needs.length ? `, needs ${row.needs.join(", ")}` : ""}`;
  }

  key = (event) => {
    if (!this.index || event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows, pick } = this.props, box = this.index.boxes.get(this.focus);
    const column = this.index.columns.find(([x]) => x === box?.x)?.[1] ?? [], at = column.findIndex((each) => each.id === this.focus);
    const keys = {
      ArrowLeft: () => this.focusTask(rows.get(this.focus)?.needs.find((need) => this.index.boxes.has(need))),
      ArrowRight: () => this.focusTask(this.index.neededBy.get(this.focus)?.[0]),
      ArrowUp: () => this.focusTask(column[at - 1]?.id), ArrowDown: () => this.focusTask(column[at + 1]?.id),
      Enter: () => pick(this.focus), " ": () => pick(this.focus), "+": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.fit(),
    };
    if (!keys[event.key] || event.target !== this.frame) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  };

  wheel = (event) => {
    if (!event.ctrlKey && Math.abs(event.deltaX) < Math.abs(event.deltaY)) return; // the page scrolls
    event.preventDefault();
    const { left, top } = this.frame.getBoundingClientRect();
    if (event.ctrlKey) this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - left, event.clientY - top);
    else this.move(-event.deltaX, 0);
  };

  press = (event) => {
    if (event.button || event.target.closest("button")) return;
    this.held = { x: event.clientX, y: event.clientY, isMoved: false };
    this.frame.setPointerCapture(event.pointerId);
  };

  drag = (event) => {
    if (!this.held) return this.hover(event);
    const dx = event.clientX - this.held.x, dy = event.clientY - this.held.y;
    if (!this.held.isMoved && Math.hypot(dx, dy) < 4) return undefined;
    this.held = { x: event.clientX, y: event.clientY, isMoved: true };
    return this.move(dx, dy);
  };

  release = (event) => {
    const { held } = this;
    this.held = null;
    if (!held || held.isMoved || !this.index) return;
    const [x, y] = this.pointOf(event), id = taskAt(this.index, x, y);
    if (id !== null) {
      this.focus = id;
      this.placeRing();
      this.props.pick(id);
    } else if (y < 0 && this.view.scale < FAR) this.unfold(x);
  };

  /** Zoom in to the columns whose counts were clicked. */
  unfold(x) {
    const group = groupColumns(this.index, this.view.scale).find((each) => x >= each.x && x <= each.right);
    if (!group) return;
    this.view = { x: PADDING - group.x * 0.6, y: PADDING, scale: 0.6 };
    this.isFitted = false;
    this.draw();
  }

  hover(event) {
    const [x, y] = this.pointOf(event), id = this.index ? taskAt(this.index, x, y) : null;
    this.frame.title = id === null ? "" : this.describe(id);
    this.frame.style.cursor = id === null ? "grab" : "pointer";
  }

  pointOf(event) {
    const { left, top } = this.frame.getBoundingClientRect(), { x, y, scale } = this.view;
    return [(event.clientX - left - x) / scale, (event.clientY - top - y) / scale];
  }

  render({ graph }) {
    return html`<div class="graph" hidden=${!graph}>
      <div class="frame" tabindex="0" role="application" aria-label="Graph of the tasks. Arrow keys walk along what tasks need, Enter opens. The table below says the same."
        ref=${(frame) => { this.frame = frame ?? this.frame; }} onKeyDown=${this.key} onFocus=${() => this.focusTask(this.focus)} onPointerDown=${this.press} onPointerMove=${this.drag} onPointerUp=${this.release} onPointerCancel=${() => { this.held = null; }}>
        <canvas ref=${(canvas) => { this.edges = canvas ?? this.edges; }}></canvas><canvas ref=${(canvas) => { this.nodes = canvas ?? this.nodes; }}></canvas>
        <div class="ring" ref=${(ring) => { this.ring = ring ?? this.ring; }}></div>
        <p class="unseen" aria-live="polite" ref=${(words) => { this.words = words ?? this.words; }}></p>
      </div>
      <div class="zooming"><button data-often aria-label="Nearer" title="Nearer (+)" onClick=${() => this.zoom(1.4)}>+</button>
        <button data-often aria-label="Farther" title="Farther (-)" onClick=${() => this.zoom(1 / 1.4)}>−</button><button aria-label="All of it" title="All of it (0)" onClick=${() => this.fit()}>⤢</button></div></div>`;
  }
}
