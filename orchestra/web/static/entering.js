// What is read when a screen is entered, and while it is shown.

import { encode, get } from "./api.js";
import { follow } from "./live.js";
import { readPlace, runPlace } from "./places.js";
import { announce, attempt, changeForm, emptyForm, state, toast, update } from "./state.js";
import { plural, progress } from "./words.js";

let stopLink = () => {};

export async function enter({ again = false } = {}) {
  const place = readPlace(location.hash), before = state.place;
  if (place.task != null) update({ toasts: state.toasts.filter(({ href }) => !isSameTask(place, href)) });
  if (!again && place.screen === "run" && before.screen === "run" && place.run === before.run && state.run) return showInRun(place, before);
  stopLink();
  stopLink = () => {};
  const fresh = { error: "", detail: null, asking: null, linking: null, help: false, palette: false, heard: 0, link: "connecting" };
  update({ place, ...fresh, ...(again ? {} : { find: "", hidden: new Set(), shown: 0 }), parts: {} });
  if (place.screen === "run") await enterRun(place);
  else if (place.screen === "new") await enterForm();
  else if (place.screen === "plan") await enterPlan();
  else await readList();
}

/** Whether a toast leads to the task that is shown: then it has been read. */
function isSameTask(place, href) {
  const { run, task } = readPlace(href);
  return run === place.run && task === place.task;
}

// --- lists, which are asked for again and again

const LISTS = {
  runs: () => `/runs?limit=${state.mostRuns}&q=${encode(state.search)}&state=${state.stateFilter}`, plans: () => "/plans", agents: () => "/agents",
  locks: () => "/locks", stats: () => "/dashboard/stats", health: () => "/health",
};

/** Read what the screen lists, and what waits for a person. */
export async function readList() {
  const { screen } = state.place;
  if (screen === "run") return undefined;
  try {
    const queue = await get("/interrupts"), path = LISTS[screen]?.();
    const found = path ? await get(path) : null;
    if (state.place.screen !== screen) return undefined;
    const changes = screen === "runs" ? { runs: found.data, page: found.page } : found ? { lists: { ...state.lists, [screen]: found.data } } : {};
    return update({ ...changes, queue: queue.data, heard: Date.now(), link: "live", error: "" });
  } catch (error) {
    if (error.status === 503) return update({ lists: { ...state.lists, [screen]: null }, link: "live", heard: Date.now(), error: error.message });
    return update({ link: state.heard ? "stale" : "lost", error: error.status === 401 ? error.message : state.error });
  }
}

async function enterPlan() {
  const { plan, repository } = state.place;
  if (state.plan?.name === plan) update({ plan: null });
  const found = await attempt(() => get(`/plans/${encode(plan)}?repository=${encode(repository)}`));
  if (found) update({ plan: found.data, heard: Date.now(), link: "live" });
  else update({ error: `Plan ${plan} cannot be shown.` });
}

async function enterForm() {
  update({ form: { ...emptyForm(), key: crypto.randomUUID() } });
  const [repositories, roots] = await Promise.all([attempt(() => get("/repositories")), attempt(() => get("/roots"))]);
  const first = repositories?.data[0];
  const [models, settings] = await Promise.all([attempt(() => get("/models")), first && attempt(() => get(`/settings?repository=${encode(first)}`))]);
  update({ link: repositories ? "live" : "lost", heard: Date.now() });
  changeForm({
    repositories: repositories?.data ?? [], roots: roots?.data ?? [], models: (models?.data ?? []).map((model) => model.name),
    settings: Object.fromEntries((settings?.data ?? []).map((row) => [row.name, row.value === "-" ? "" : row.value])),
  });
}

// --- one run

async function enterRun(place) {
  const isSame = state.run && place.run === state.run.id;
  update({ run: isSame ? state.run : null, rows: isSame ? state.rows : new Map(), past: null, playing: 0 });
  const found = await attempt(() => get(`/runs/${encode(place.run)}`));
  if (!found) return update({ error: `Run ${place.run} cannot be shown.` });
  if (found.data.run.id !== place.run) history.replaceState(null, "", runPlace({ ...place, run: found.data.run.id }));
  update({ place: { ...place, run: found.data.run.id } });
  applyRows(found.data.run, found.data.rows);
  update({ graph: found.data.graph });
  if (place.task !== null) loadDetail();
  stopLink = follow(found.data.run.id, onFrame, (link, heard, error) => update({ link, heard, ...(error ? { error: error.message } : {}) }));
}

function showInRun(place, before) {
  update({ place, detail: place.task === before.task ? state.detail : null });
  if (place.task !== null && place.task !== before.task) loadDetail();
}

function onFrame(kind, data) {
  if (kind === "snapshot" || kind === "rows") applyRows(data.run, data.rows);
}

function applyRows(run, rows) {
  const before = state.run, known = new Map(state.rows);
  let isReshaped = false;
  for (const row of rows) {
    const old = known.get(row.id);
    isReshaped ||= known.size > 0 && (!old || String(old.needs) !== String(row.needs));
    if (old && old.state !== row.state) announce(`Task ${row.id} is ${row.phase}.`);
    known.set(row.id, row);
  }
  update({ run, rows: known });
  if (isReshaped) readGraph(run.id);
  if (state.detail && rows.some((row) => row.id === state.place.task)) loadDetailSoon();
  if (before?.id === run.id) tellWaiting(run, before.waiting);
  if (before?.id === run.id && before.exit_code === null && run.exit_code !== null) {
    toast(run.verdict);
    const { done, all } = progress(run.tasks);
    announce(`The run ended: ${done} of ${plural(all, "task")} done.`);
  }
}

/** Tell which tasks need the person now. What is on the screen, or was decided, is not told any more. */
function tellWaiting(run, before) {
  const decided = before.filter((task) => !run.waiting.includes(task)).map((task) => runPlace({ run: run.id, task }));
  if (decided.length) update({ toasts: state.toasts.filter(({ kind, href }) => kind !== "alert" || !decided.includes(href)) });
  for (const task of run.waiting) {
    if (before.includes(task)) continue;
    if (state.place.task === task) announce(`Task ${task} needs you.`);
    else toast(`Task ${task} needs you.`, "alert", runPlace({ run: run.id, task }));
  }
}

async function readGraph(run) {
  const found = await attempt(() => get(`/runs/${encode(run)}`));
  if (found && state.run?.id === run) update({ graph: found.data.graph });
}

let soon = 0;

/** At most once a second: a row can change four times in it. */
function loadDetailSoon() {
  soon ||= setTimeout(() => {
    soon = 0;
    if (state.place.task != null) loadDetail();
  }, 1000);
}

async function loadDetail() {
  const { run, task } = state.place;
  const found = await attempt(() => get(`/runs/${encode(run)}/tasks/${task}`));
  if (found && state.place.task === task && state.place.run === run) update({ detail: found.data });
}
