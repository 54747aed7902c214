// Numbers and states in words. Nothing here touches the page.

export const SIGNS = {
  planned: "○", ready: "◔", active: "▶", awaiting_qa: "◷", complete: "✓", failed: "✗", waiting_human: "⚑", abandoned: "⊘",
  running: "▶", ended: "■", interrupted: "‖",
};

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

/** Done, failed and waiting, and all tasks of a run's row. */
export function progress(tasks) {
  const all = Object.values(tasks).reduce((sum, each) => sum + each, 0);
  return { all, done: tasks.complete + tasks.awaiting_qa, failed: tasks.failed, waiting: tasks.waiting_human };
}
