// What the page knows, where it is, and how a key or a click changes that. The screens are in screens.js.

import { render } from "./preact.js";
import { ApiError, follow, get, post, takeToken } from "./api.js";
import { html } from "./html.js";
import { App, askToResume } from "./screens.js";

const state = {
  place: { screen: "runs" }, // runs, run, queue, new
  runs: [], page: {}, queue: [],
  run: null, rows: new Map(), graph: null, past: null, stream: "connecting", heard: 0,
  tab: "graph", selected: null, detail: null, part: "brief", log: [],
  form: emptyForm(), search: "", toasts: [], help: false, asking: null, error: "", linking: null,
};
function emptyForm() {
  return { repositories: [], models: [], settings: {}, busy: "", plan: null, problem: "", key: "" };
}

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
  return screen === "runs" && name ? { screen: "run", run: decodeURIComponent(name) } : { screen: ["queue", "new"].includes(screen) ? screen : "runs" };
}

async function enter() {
  const place = readPlace();
  stopStream();
  stopStream = () => {};
  update({ place, error: "", selected: null, detail: null, asking: null, linking: null, log: [] });
  if (place.screen === "run") await enterRun(place.run);
  else if (place.screen === "new") await enterForm();
  else await actions.refresh();
}

async function enterForm() {
  update({ form: { ...emptyForm(), key: crypto.randomUUID() } });
  const repositories = await attempt(() => get("/repositories"));
  const first = repositories?.data[0];
  const [models, settings] = await Promise.all([attempt(() => get("/models")), first && attempt(() => get(`/settings?repository=${encodeURIComponent(first)}`))]);
  changeForm({
    repositories: repositories?.data ?? [], models: (models?.data ?? []).map((model) => model.name),
    settings: Object.fromEntries((settings?.data ?? []).map((row) => [row.name, row.value === "-" ? "" : row.value])),
  });
}

const changeForm = (changes) => update({ form: { ...state.form, ...changes } });

/** Wait until a started program has a run, and go there; tell what it printed if it ended without one. */
async function followLaunch(launch, onEnd) {
  const place = location.hash;
  for (;;) {
    const found = await attempt(() => get(`/launches/${launch}`));
    if (!found || location.hash !== place) return;
    if (found.data.run) return actions.go(`#/runs/${found.data.run}`);
    if (found.data.state !== "running") return onEnd(found.data.output);
    await new Promise((done) => setTimeout(done, 500));
  }
}

/** Tell if a program that continues a run ends without having worked on it. */
async function watchResume(launch) {
  for (;;) {
    const found = await attempt(() => get(`/launches/${launch}`));
    if (!found || state.run?.state === "running") return;
    if (found.data.state !== "running") {
      if ([2, 3].includes(found.data.exit_code)) toast(found.data.output.trim().split("\n").at(-1), "alert");
      return;
    }
    await new Promise((done) => setTimeout(done, 500));
  }
}

async function enterRun(name) {
  update({ run: null, rows: new Map(), past: null, stream: "connecting" });
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
  async decide(run, task, action, text = "", resume = false) {
    const done = await attempt(async () => {
      try {
        return await post(`/runs/${run}/tasks/${task}/resolve?resume=${resume}`, { action, text });
      } catch (error) {
        if (error.code !== "NOT_RUNNING") throw error;
        return { ask: error.message };
      }
    });
    if (done?.ask) return update({ asking: askToResume(done.ask, () => actions.decide(run, task, action, text, true)) });
    if (done) toast(done.answer ?? "The run is resumed with your decision.", "status", `#/runs/${run}`);
    update({ asking: null });
    if (done?.launch) watchResume(done.launch);
    if (state.place.screen === "queue") await actions.refresh();
  },
  async estimate(values) {
    changeForm({ busy: "Planning …", plan: null, problem: "" });
    const found = await attempt(() => post("/runs", { ...values, dry_run: true }));
    changeForm({ busy: "", plan: found?.plan ?? null });
  },
  async start(values) {
    changeForm({ busy: "Starting …", problem: "" });
    const started = await attempt(() => post("/runs", values, { "Idempotency-Key": state.form.key }));
    const end = (problem) => changeForm({ busy: "", problem, key: crypto.randomUUID() });
    if (started) await followLaunch(started.launch, end);
    else end("");
  },
  async resume(run) {
    const started = await attempt(() => post(`/runs/${run}/resume`));
    if (started) toast(started.answer ?? "The run is resumed.");
    if (started?.launch) watchResume(started.launch);
  },
  async restart(run) {
    const started = await attempt(() => post(`/runs/${run}/restart`));
    if (started) await followLaunch(started.launch, (output) => toast(output.trim().split("\n").at(-1), "alert"));
  },
  /** Show the run as it was after an event. Of several wishes while one is answered only the last is carried out. */
  async showMoment(at) {
    if (at >= state.run.seq) return update({ past: null });
    const waits = state.past?.wanted !== undefined && state.past.wanted !== state.past.at;
    update({ past: { ...state.past, wanted: at } });
    if (waits) return;
    while (state.past && state.past.wanted !== state.past.at) {
      const wanted = state.past.wanted, found = await attempt(() => get(`/runs/${state.run.id}/state?at=${wanted}`));
      if (!state.past) return;
      if (!found) return update({ past: null });
      const { run, rows, graph, time } = found.data;
      update({ past: { wanted: state.past.wanted, at: wanted, time, run, rows: new Map(rows.map((row) => [row.id, row])), graph }, linking: null });
    }
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
  n: () => actions.go("#/new"),
  h: () => actions.go("#/"),
  l: () => state.run && update({ linking: state.linking === null ? 0 : null }),
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.querySelector("input[type=search]")?.focus(),
  Escape: () => {
    if (state.help || state.asking || state.linking !== null) update({ help: false, asking: null, linking: null });
    else if (state.selected !== null) actions.select(null);
    else if (state.past) update({ past: null });
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
