// Numbers and states in words. Nothing here touches the page.

export const SIGNS = {
  planned: "○", ready: "◔", active: "▶", awaiting_qa: "◷", complete: "✓", failed: "✗", waiting_human: "⚑", abandoned: "⊘",
  running: "▶", ended: "■", interrupted: "‖",
};
export const TASK_STATES = ["planned", "ready", "active", "awaiting_qa", "complete", "failed", "waiting_human", "abandoned"];

export const stateWords = (state) => state.replace("awaiting_qa", "to be combined").replace("waiting_human", "needs you");

const DECISION_WORDS = { retry: "Retry", brief: "New brief", take: "Take", spawn: "Another task", abandon: "Abandon" };

export const decisionWords = ({ action, row }) => `“${DECISION_WORDS[action]}” for ${row.agent}`;

export const dollars = (value) =>
  value === null || value === undefined ? "unknown" : value < 1 ? `$${value.toFixed(4)}` : `$${value.toFixed(2)}`;

export const count = (number) => number.toLocaleString("en-US");

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, seconds).toFixed(0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString();

export const day = (ms) => new Date(ms).toLocaleString();

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

export const firstLine = (text) => text.split("\n")[0];

export const splitWords = (text) => text.split(/\s+/).filter(Boolean);

/** Done, failed and waiting, and all tasks of a run's row. */
export function progress(tasks) {
  const all = Object.values(tasks).reduce((sum, each) => sum + each, 0);
  return { all, done: tasks.complete + tasks.awaiting_qa, failed: tasks.failed, waiting: tasks.waiting_human };
}

export const taskName = (row) => row.title || row.files.join(", ");

/** Whether a row fits the words that are searched. */
export function matchesWords(row, find) {
  const text = `${row.id} ${row.agent} ${row.title} ${row.role} ${row.files.join(" ")} ${row.phase}`.toLowerCase();
  return splitWords(find.toLowerCase()).every((word) => text.includes(word));
}

const GENERATED = /(^|\/)(package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|Cargo\.lock|go\.sum|uv\.lock|dist\/.*|vendor\/.*|node_modules\/.*)$|\.min\.(js|css)$|\.(map|snap|svg)$/;

/** The files of a patch, each with its own part of it. */
export function splitPatch(patch) {
  return patch.split(/^(?=diff --git )/m).filter((part) => part.trim()).map((text) => {
    const path = patchPath(text), lines = text.split("\n");
    const added = lines.filter((line) => line[0] === "+" && !line.startsWith("+++ ")).length;
    const removed = lines.filter((line) => line[0] === "-" && !line.startsWith("--- ")).length;
    return { path, text, added, removed, generated: GENERATED.test(path) };
  });
}

function patchPath(text) {
  const named = /^\+\+\+ "?b\/(.*?)"?\t?$/m.exec(text) ?? /^--- "?a\/(.*?)"?\t?$/m.exec(text) ?? /^diff --git "?a\/.*?"? "?b\/(.*?)"?$/m.exec(text);
  return named ? named[1] : "patch";
}

export const lineKind = (line) => (/^(\+\+\+ |--- |diff |index |new file|deleted file|similarity|rename)/.test(line) ? "head" : line[0] === "+" ? "plus" : line[0] === "-" ? "minus" : line.startsWith("@@") ? "at" : "");
