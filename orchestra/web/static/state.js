// What the page knows. Every change goes through `update`, which draws the page once before the next frame.

import { ApiError } from "./api.js";

export const state = {
  place: { screen: "runs" }, // see readPlace in places.js
  runs: [], page: {}, queue: [], search: "", stateFilter: "", mostRuns: 50,
  run: null, rows: new Map(), graph: null, past: null, speed: 10, playing: 0, // times as fast as the run was; 0: it stands still
  link: "connecting", heard: 0, // live, stale, lost or connecting, and when the server was last heard
  detail: null, find: "", hidden: new Set(), shown: 0,
  parts: {}, // of the run, by name: what is not in its rows
  form: emptyForm(), plans: [], plan: null, lists: {},
  pending: [], // decisions of the queue that are not sent yet, and what sends them
  toasts: [], help: false, palette: false, asking: null, error: "", linking: null, sending: new Set(), said: "",
};

export function emptyForm() {
  return { repositories: [], roots: [], repository: "", models: [], settings: {}, busy: "", plan: null, problem: "", key: "" };
}

let draw = () => {}, isWaiting = false;

/** Say what draws the page. */
export function drawWith(drawPage) {
  draw = drawPage;
}

export function update(changes) {
  Object.assign(state, changes);
  if (isWaiting) return;
  isWaiting = true;
  const drawNow = () => {
    isWaiting = false;
    draw(state);
  };
  if (document.hidden) setTimeout(drawNow, 0); // a hidden page has no frames
  else requestAnimationFrame(drawNow);
}

export const changeForm = (changes) => update({ form: { ...state.form, ...changes } });

const TOASTS = 3, TOAST_MS = 6000;

/** Tell something for a moment. An alert stays until it is closed or its link is followed. */
export function toast(text, kind = "status", href = "") {
  const id = Date.now() + Math.random();
  update({ toasts: [...state.toasts.filter((each) => each.text !== text), { id, text, kind, href }].slice(-20) });
  if (kind === "status") setTimeout(() => dismiss(id), TOAST_MS);
}

export const dismiss = (id) => update({ toasts: state.toasts.filter((each) => each.id !== id) });
export const shownToasts = () => state.toasts.slice(-TOASTS);

/** Do something that asks the server. A refusal becomes a toast; then nothing is returned. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof TypeError || error.name === "TimeoutError")) console.error(error);
    toast(error instanceof ApiError ? error.message : "The server cannot be reached.", "alert");
    return undefined;
  }
}

// Screen readers are told of changes at most every 5 seconds.
const QUIET_MS = 5000;
let pendingWords = [], lastSaid = 0, speaking = 0;

export function announce(words) {
  pendingWords = [...pendingWords, words].slice(-4);
  if (speaking) return;
  speaking = setTimeout(() => {
    speaking = 0;
    lastSaid = Date.now();
    update({ said: pendingWords.join(" ") });
    pendingWords = [];
  }, Math.max(0, lastSaid + QUIET_MS - Date.now()));
}
