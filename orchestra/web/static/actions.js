// What can be done. Each action asks the server, changes what the page knows, or both.

import { encode, get, getText, post, put } from "./api.js";
import { askToResume } from "./dialogs.js";
import { enter, readList } from "./entering.js";
import { planPlace, runPlace } from "./places.js";
import { announce, attempt, changeForm, state, toast, update } from "./state.js";
import { decisionWords, matchesWords } from "./words.js";

const runPath = (path = "") => `/runs/${encode(state.run.id)}${path}`;
const LAUNCH_POLL = 500; // ms

/** Wait until a started program has a run and go there, or tell what it printed if it ended without one. */
async function followLaunch(launch, onEnd) {
  const place = location.hash;
  for (;;) {
    const found = await attempt(() => get(`/launches/${launch}`));
    if (!found || location.hash !== place) return;
    if (found.data.run) return actions.go(runPlace({ run: found.data.run }));
    if (found.data.state !== "running") return onEnd(found.data.output, found.data);
    await new Promise((done) => setTimeout(done, LAUNCH_POLL));
  }
}

/** Tell if a program that continues a run ends without having worked on it. */
async function watchResume(launch) {
  for (;;) {
    const found = await attempt(() => get(`/launches/${launch}`));
    if (!found || state.run?.state === "running") return;
    if (found.data.state !== "running") {
      if ([2, 3].includes(found.data.exit_code)) toast(lastLine(found.data.output), "alert");
      return;
    }
    await new Promise((done) => setTimeout(done, LAUNCH_POLL));
  }
}

const ENDING_TRIES = 120, UNDO_MS = 5000;

const isAbout = (pending, run, row) => pending.run === run && pending.row.id === row.id;

/** Send a decision. A run that is about to end takes none: then it is sent again when its process has gone. */
async function postDecision(run, path, values) {
  for (let tries = 0; ; tries++) {
    try {
      return await post(path, values);
    } catch (error) {
      if (error.code === "NOT_RUNNING") return { ask: error.message };
      if (error.status !== 409 || tries >= ENDING_TRIES || (await get(`/runs/${encode(run)}`)).data.run.exit_code === null) throw error;
      await new Promise((done) => setTimeout(done, LAUNCH_POLL));
    }
  }
}

/** Close the dialog that a command came from, not one that was opened meanwhile. */
function close(asking) {
  if (state.asking === asking) update({ asking: null });
}

const lastLine = (output) => output.trim().split("\n").at(-1);

/** Do it unless the same is being done: a second click while the first one is answered counts for nothing. */
async function once(key, work) {
  if (state.sending.has(key)) return undefined;
  update({ sending: new Set([...state.sending, key]) });
  try {
    return await attempt(work);
  } finally {
    update({ sending: new Set([...state.sending].filter((each) => each !== key)) });
  }
}

export const actions = {
  update,
  go: (hash) => { location.hash = hash; },
  reenter: () => enter({ again: true }),
  refresh: () => readList(),

  // --- where the page looks

  showTab: (tab) => actions.go(runPlace({ ...state.place, tab })),
  showPart: (part) => actions.go(runPlace({ ...state.place, part })),
  select: (task) => actions.go(runPlace({ ...state.place, task, part: task === null ? "" : state.place.part })),
  nextWaiting() {
    if (state.place.screen !== "run") return actions.go("#/queue");
    const waiting = state.run?.waiting ?? [], at = waiting.indexOf(state.place.task);
    return waiting.length ? actions.select(waiting[(at + 1) % waiting.length]) : announceAndToast("No task of this run needs you.");
  },
  /** Go to the next or previous row. */
  step(by) {
    if (state.place.screen !== "run") {
      const links = [...document.querySelectorAll("[data-row]")];
      return links[Math.max(0, Math.min(links.length - 1, links.indexOf(document.activeElement) + by))]?.focus();
    }
    const rows = shownRows(), at = rows.findIndex((row) => row.id === state.place.task);
    if (rows.length) actions.select(rows[Math.max(0, Math.min(rows.length - 1, at + by))].id);
  },
  leave() {
    if (state.help || state.asking || state.palette || state.linking !== null) return update({ help: false, asking: null, palette: false, linking: null });
    if (state.place.task != null) return actions.select(null);
    if (state.past) return update({ past: null });
    if (state.find) return update({ find: "" });
    if (state.place.screen !== "runs") actions.go(state.place.screen === "plan" ? "#/plans" : "#/");
  },
  toggleLinking: () => update({ linking: state.linking === null ? 0 : null }),
  /** In link mode the first choice names the task that waits, the second the one it needs. */
  async pick(task) {
    if (state.linking === null) return actions.select(task);
    if (state.linking === 0) return update({ linking: task });
    const waits = state.linking, linked = state.rows.get(waits).needs.includes(task);
    update({ linking: null });
    await actions.send(`/tasks/${waits}/edit`, linked ? { unlink: [task] } : { link: [task] });
  },

  // --- commands to a run

  /** Send a command to the run's process, and tell what it answered. */
  async send(path, values = {}) {
    const { asking } = state;
    const done = await once(path, () => post(runPath(path), values));
    if (done) toast(done.answer);
    close(asking);
  },
  /** Decide about the question that the task's row had: if it was answered meanwhile, the server tells by whom. */
  async decide(run, row, action, text = "", resume = false) {
    const task = row.id, path = `/runs/${encode(run)}/tasks/${task}/resolve?resume=${resume}`, { asking } = state;
    const done = await once(`${run} ${task}`, () => postDecision(run, path, { action, text, question: row.question }));
    if (done?.ask) return update({ asking: askToResume(done.ask, () => actions.decide(run, row, action, text, true)) });
    if (done) toast(done.answer ?? "The run is resumed with your decision.", "status", runPlace({ run, task }));
    close(asking);
    if (done?.launch) watchResume(done.launch);
    if (state.place.screen === "queue") await readList();
  },
  /** Decide in a moment, so that it can be undone until then. */
  decideSoon(run, row, action, text = "") {
    const pending = { run, row, action, until: Date.now() + UNDO_MS };
    pending.timer = setTimeout(() => {
      update({ pending: state.pending.filter((each) => each !== pending) });
      actions.decide(run, row, action, text);
    }, UNDO_MS);
    const others = state.pending.filter((each) => !isAbout(each, run, row) || clearTimeout(each.timer));
    update({ pending: [...others, pending], asking: null });
    announce(`${decisionWords(pending)} is sent in ${UNDO_MS / 1000} seconds; z undoes it.`);
  },
  /** Take the last decision back that was not sent yet. */
  undo(pending = state.pending.at(-1)) {
    if (!pending) return announceAndToast("Every decision is sent already.");
    clearTimeout(pending.timer);
    announce(`${decisionWords(pending)} is not sent.`);
    return update({ pending: state.pending.filter((each) => each !== pending) });
  },
  async resume(run) {
    const started = await once("resume", () => post(`/runs/${encode(run)}/resume`));
    if (started) toast(started.answer ?? "The run is resumed.");
    if (started?.launch) watchResume(started.launch);
  },
  async restart(run) {
    const started = await once("restart", () => post(`/runs/${encode(run)}/restart`));
    if (started) await followLaunch(started.launch, (output) => toast(lastLine(output), "alert"));
  },

  // --- a new run

  async addRepository({ path, clone }) {
    const added = await once("repository", () => post("/repositories", { ...(path ? { path } : {}), ...(clone ? { clone } : {}) }));
    if (!added) return;
    const found = await attempt(() => get("/repositories"));
    update({ asking: null });
    changeForm({ repositories: found?.data ?? state.form.repositories, repository: added.repository });
  },
  async estimate(values) {
    changeForm({ busy: "Planning …", plan: null, problem: "" });
    const found = await once("estimate", () => post("/runs", { ...values, dry_run: true }));
    changeForm({ busy: "", plan: found?.plan ?? null });
  },
  async start(values) {
    changeForm({ busy: "Starting …", problem: "" });
    const started = await once("start", () => post("/runs", values, { "Idempotency-Key": state.form.key }));
    const end = (problem) => changeForm({ busy: "", problem, key: crypto.randomUUID() });
    if (started) await followLaunch(started.launch, end);
    else end("");
  },
  /** Make a plan of the change, and show it when it is there. */
  async planFirst({ change, repository, ...values }) {
    changeForm({ busy: "Making a plan …", problem: "" });
    const started = await once("start", () => post("/plans", { change, ...(repository ? { repository } : {}), ...values }, { "Idempotency-Key": state.form.key }));
    if (!started) return changeForm({ busy: "", key: crypto.randomUUID() });
    const place = location.hash;
    for (;;) {
      const found = await attempt(() => get(`/launches/${started.launch}`));
      if (!found || location.hash !== place) return undefined;
      if (found.data.state !== "running" && found.data.exit_code === 0) return actions.go(planPlace(started.plan, repository ?? ""));
      if (found.data.state !== "running") return changeForm({ busy: "", problem: found.data.output, key: crypto.randomUUID() });
      await new Promise((done) => setTimeout(done, LAUNCH_POLL));
    }
  },

  // --- plans

  /** Change a plan by a command of `plan edit`. A plan that was changed meanwhile is shown anew. */
  async editPlan(words) {
    const { asking, plan: { name, repository, etag } } = state;
    const changed = await once("plan", () => post(planPath(name, "/edit", repository), { words }, { "If-Match": etag }));
    close(asking);
    if (changed) update({ plan: changed });
    else await actions.readPlan();
  },
  async savePlan(toml) {
    const { name, repository, etag } = state.plan;
    const changed = await once("plan", () => put(planPath(name, "", repository), { toml }, { "If-Match": etag }));
    if (changed) {
      update({ plan: changed });
      toast("The plan is saved.");
    }
  },
  async readPlan() {
    const { plan, repository } = state.place;
    const found = await attempt(() => get(planPath(plan, "", repository)));
    if (found && state.place.plan === plan) update({ plan: found.data });
  },
  async approvePlan() {
    const { name, repository, etag } = state.plan;
    const changed = await once("plan", () => post(planPath(name, "/approve", repository), {}, { "If-Match": etag }));
    if (changed) {
      update({ plan: changed });
      toast("The plan is approved.");
    } else await actions.readPlan();
  },
  async executePlan() {
    const { name, repository } = state.plan;
    const started = await once("execute", () => post(planPath(name, "/execute", repository), {}, { "Idempotency-Key": crypto.randomUUID() }));
    if (started) await followLaunch(started.launch, (output) => toast(lastLine(output) || "The run did not start.", "alert"));
  },

  // --- a run's parts

  /** Read a part of the run that is not in its rows; `key` names it in state.parts. */
  async readPart(key, path, read = getJson) {
    const found = await attempt(() => read(path));
    if (found !== undefined) update({ parts: { ...state.parts, [key]: found } });
  },
  readDiff: () => actions.readPart("diff", runPath("/diff"), (path) => getText(path).catch((error) => { if (error.status === 404) return ""; throw error; })),
  /** Show the run as it was after an event. Of several wishes while one is answered only the last is carried out. */
  async showMoment(at) {
    if (at >= state.run.seq) return update({ past: null });
    const waits = state.past?.wanted !== undefined && state.past.wanted !== state.past.at;
    update({ past: { ...state.past, wanted: at } });
    if (waits) return;
    while (state.past && state.past.wanted !== state.past.at) {
      const wanted = state.past.wanted, found = await attempt(() => get(runPath(`/state?at=${wanted}`)));
      if (!state.past) return;
      if (!found) return update({ past: null });
      const { run, rows, graph, time } = found.data;
      update({ past: { ...state.past, at: wanted, time, run, rows: new Map(rows.map((row) => [row.id, row])), graph }, linking: null });
    }
  },
  changeSpeed: (speed) => update({ speed, playing: state.playing && speed }),
  /** Show the run's moments one after the other, as fast as it was or faster, from the slider's place or the beginning.
   * Where nothing happened for long, it does not wait. */
  async play(speed) {
    const was = state.playing;
    update({ playing: speed });
    if (!speed || was) return;
    const { run } = state, stands = () => !state.playing || state.run?.id !== run.id;
    let step = 1;
    for (await actions.showMoment(state.past?.at ?? 1); !stands() && state.past?.at; ) {
      const { at, time } = state.past, begun = Date.now();
      await actions.showMoment(Math.min(state.run.seq, at + step));
      if (stands() || !state.past) break;
      const due = (state.past.time - time) / state.playing, spent = Date.now() - begun;
      await new Promise((done) => setTimeout(done, Math.max(TICK_MS - spent, Math.min(due, LONGEST_STILL) - spent)));
      step = due > TICK_MS ? Math.max(1, Math.floor(step / 2)) : Math.min(2 * step, Math.ceil(state.run.seq / 20));
    }
    if (state.run?.id === run.id) update({ playing: 0 });
  },
};

// The server answers ten questions a second at most; a longer pause than this tells nothing.
const TICK_MS = 250, LONGEST_STILL = 1500;

const getJson = async (path) => (await get(path)).data;
const planPath = (name, path, repository) => `/plans/${encode(name)}${path}?repository=${encode(repository)}`;

function announceAndToast(words) {
  announce(words);
  toast(words);
}

/** The rows of the run that fit the search and the states that are shown, by their numbers. */
export function shownRows(rows = state.rows) {
  return [...rows.values()].filter((row) => !state.hidden.has(row.state) && (!state.find || matchesWords(row, state.find))).sort((a, b) => a.id - b.id);
}
