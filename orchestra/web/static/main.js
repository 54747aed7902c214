// What the page knows, where it is, and how a key or a click changes that. The screens are in screens.js.

import { render } from "./preact.js";
import { ApiError, follow, get, post, takeToken } from "./api.js";
import { App, html } from "./screens.js";

const state = {
  place: { screen: "runs" }, // runs, run, queue
  runs: [], page: {}, queue: [],
  run: null, rows: new Map(), graph: null, stream: "connecting", heard: 0,
  tab: "graph", selected: null, detail: null, part: "brief", log: [],
  search: "", toasts: [], help: false, asking: null, error: "", linking: null,
};
let stopStream = () => {};
let drawing = false;

/** Change what the page knows and draw it once before the next frame. */
function update(changes) {
  Object.assign(state, changes);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    render(html`<${App} state=${state} act=${actions} />`, document.body);
    document.documentElement.dataset.seq = state.run?.seq ?? "";
    document.documentElement.dataset.screen = state.place.screen;
  });
}

function toast(text, kind = "status", href = "") {
  const id = Date.now() + Math.random();
  update({ toasts: [...state.toasts.slice(-2), { id, text, kind, href }] });
  if (kind === "status") setTimeout(() => actions.dismiss(id), 6000);
}

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    toast(error instanceof ApiError ? error.message : "The server cannot be reached.", "alert");
    return undefined;
  }
}

// --- where we are

function readPlace() {
  const [screen, name] = location.hash.replace(/^#\//, "").split("/");
  return screen === "runs" && name ? { screen: "run", run: decodeURIComponent(name) } : { screen: screen === "queue" ? "queue" : "runs" };
}

async function enter() {
  const place = readPlace();
  stopStream();
  stopStream = () => {};
  update({ place, error: "", selected: null, detail: null, asking: null, linking: null, log: [] });
  if (place.screen === "run") await enterRun(place.run);
  else await actions.refresh();
}

async function enterRun(name) {
  update({ run: null, rows: new Map(), stream: "connecting" });
  const found = await attempt(() => get(`/runs/${encodeURIComponent(name)}`));
  if (!found) return update({ error: `Run ${name} cannot be shown.` });
  applyRows(found.data.run, found.data.rows);
  update({ graph: found.data.graph });
  stopStream = follow(found.data.run.id, onFrame, (stream, heard) => update({ stream, heard }));
}

function onFrame(kind, data) {
  if (kind !== "beat") applyRows(data.run, data.rows);
  else update({ heard: Date.now() });
}

function applyRows(run, rows) {
  const before = state.run, known = new Map(state.rows);
  let reshaped = false;
  for (const row of rows) {
    reshaped ||= known.size > 0 && (!known.has(row.id) || String(known.get(row.id).needs) !== String(row.needs));
    known.set(row.id, row);
  }
  update({ run, rows: known });
  if (reshaped) refreshGraph(run.id);
  const selected = state.selected && rows.find((row) => row.id === state.selected);
  if (selected && state.detail) loadDetail(state.selected);
  for (const task of run.waiting)
    if (before && !before.waiting.includes(task)) toast(`Task ${task} needs you.`, "alert", `#/runs/${run.id}`);
  if (before && before.exit_code === null && run.exit_code !== null) toast(run.verdict);
}

async function refreshGraph(run) {
  const found = await attempt(() => get(`/runs/${run}`));
  if (found) update({ graph: found.data.graph });
}

async function loadDetail(task) {
  const found = await attempt(() => get(`/runs/${state.run.id}/tasks/${task}`));
  if (found && state.selected === task) update({ detail: found.data });
}

// --- what can be done

const actions = {
  update,
  go: (hash) => { location.hash = hash; },
  dismiss: (id) => update({ toasts: state.toasts.filter((each) => each.id !== id) }),
  async refresh() {
    const [runs, queue] = await Promise.all([attempt(() => get(`/runs?limit=50&q=${encodeURIComponent(state.search)}`)), attempt(() => get("/interrupts"))]);
    if (runs) update({ runs: runs.data, page: runs.page });
    if (queue) update({ queue: queue.data });
  },
  async select(task) {
    update({ selected: task, detail: null });
    if (task !== null) await loadDetail(task);
  },
  async showTab(tab) {
    update({ tab });
    if (tab === "log") {
      const found = await attempt(() => get(`/runs/${state.run.id}/events?limit=1000&after=${Math.max(0, state.run.seq - 900)}`));
      if (found) update({ log: found.data });
    }
  },
  /** Send a command to the run's process, and tell what it answered. */
  async send(path, values) {
    const done = await attempt(() => post(`/runs/${state.run?.id ?? ""}${path}`, values));
    if (done) toast(done.answer);
    update({ asking: null });
  },
  async decide(run, task, action, text = "") {
    const done = await attempt(() => post(`/runs/${run}/tasks/${task}/resolve`, { action, text }));
    if (done) toast(done.answer, "status", `#/runs/${run}`);
    update({ asking: null });
    if (state.place.screen === "queue") await actions.refresh();
  },
  /** In link mode the first click names the task that waits, the second the one it needs. */
  async pick(task) {
    if (state.linking === null) return actions.select(task);
    if (state.linking === 0) return update({ linking: task });
    const waits = state.linking, linked = state.rows.get(waits).needs.includes(task);
    update({ linking: null });
    await actions.send(`/tasks/${waits}/edit`, linked ? { unlink: [task] } : { link: [task] });
  },
};

const KEYS = {
  "?": () => update({ help: !state.help }),
  r: () => (state.place.screen === "run" ? enter() : actions.refresh()),
  q: () => actions.go("#/queue"),
  h: () => actions.go("#/"),
  l: () => state.run && update({ linking: state.linking === null ? 0 : null }),
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.querySelector("input[type=search]")?.focus(),
  Escape: () => {
    if (state.help || state.asking || state.linking !== null) update({ help: false, asking: null, linking: null });
    else if (state.selected !== null) actions.select(null);
    else if (state.place.screen !== "runs") actions.go("#/");
  },
};

function step(by) {
  if (state.place.screen !== "run") {
    const links = [...document.querySelectorAll("[data-row]")];
    links[Math.max(0, Math.min(links.length - 1, links.indexOf(document.activeElement) + by))]?.focus();
    return;
  }
  const ids = [...state.rows.keys()].sort((a, b) => a - b);
  const at = ids.indexOf(state.selected);
  if (ids.length) actions.select(ids[Math.max(0, Math.min(ids.length - 1, at + by))]);
}

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  const key = KEYS[event.key];
  if (key) {
    event.preventDefault();
    if (typing) event.target.blur();
    key();
  }
});
addEventListener("hashchange", enter);
setInterval(() => { if (state.place.screen !== "run" && !document.hidden) actions.refresh(); }, 3000);
setInterval(() => { if (state.run?.state === "running") update({}); }, 1000);

if (takeToken()) enter();
else update({ error: "The token is missing. Open the address that `aider-orchestrator serve` prints." });
