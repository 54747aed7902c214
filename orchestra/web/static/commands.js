// What can be done with a key: for the keyboard, the help and the palette. Every one of them is a button or link too.

import { actions } from "./actions.js";
import { state, update } from "./state.js";

const inRun = () => state.place.screen === "run" && state.run !== null;
const isRunning = () => inRun() && state.run.state === "running" && !state.past;
const goTo = (place) => () => actions.go(place);

const inQueue = () => state.place.screen === "queue";

/** Press a button of the entry that has the focus, or of the first one. */
function pressDecision(number) {
  const entry = document.activeElement?.closest?.("article") ?? document.querySelector("main article");
  entry?.querySelectorAll("[data-decision]")[number]?.click();
}

/** Keys of two signs are typed one after the other. */
export const COMMANDS = [
  { key: "?", words: "show the keys", run: () => update({ help: !state.help }) },
  { key: "Ctrl-K", words: "find a command", run: () => update({ palette: true }) },
  { key: "r", words: "refresh", run: () => actions.reenter() },
  { key: "g r", words: "runs", run: goTo("#/") },
  { key: "g q", words: "what needs you", run: goTo("#/queue") },
  { key: "g p", words: "plans", run: goTo("#/plans") },
  { key: "g a", words: "agents at work", run: goTo("#/agents") },
  { key: "g l", words: "files held", run: goTo("#/locks") },
  { key: "g s", words: "figures", run: goTo("#/stats") },
  { key: "g h", words: "health", run: goTo("#/health") },
  { key: "n", words: "new run", run: goTo("#/new") },
  { key: "j", words: "next", run: () => actions.step(1) },
  { key: "k", words: "previous", run: () => actions.step(-1) },
  { key: "/", words: "find", run: () => document.querySelector("input[type=search]")?.focus() },
  { key: "1", words: "queue: retry with a hint", when: inQueue, run: () => pressDecision(0) },
  { key: "2", words: "queue: edit the brief", when: inQueue, run: () => pressDecision(1) },
  { key: "3", words: "queue: take it", when: inQueue, run: () => pressDecision(2) },
  { key: "4", words: "queue: another task instead", when: inQueue, run: () => pressDecision(3) },
  { key: "5", words: "queue: abandon", when: inQueue, run: () => pressDecision(4) },
  { key: "z", words: "queue: undo a decision that is not sent yet", when: () => state.pending.length > 0, run: () => actions.undo() },
  { key: ".", words: "next task that needs you", run: () => actions.nextWaiting() },
  { key: "l", words: "link mode: choose the task that waits, then the one it needs", when: isRunning, run: () => actions.toggleLinking() },
  { key: "t", words: "timeline", when: inRun, run: () => actions.showTab("timeline") },
  { key: "d", words: "diff of the task", when: () => inRun() && state.place.task !== null, run: () => actions.showPart("diff") },
  { key: "p", words: "pause the run, or let it go on", when: isRunning, run: () => actions.send(state.run.paused ? "/unpause" : "/pause") },
  { key: "Esc", words: "close, back", run: () => actions.leave() },
];

let first = "";

export function pressKey(event) {
  const typing = event.target.closest?.("input:not([type=checkbox]):not([type=range]), textarea, select");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") return carryOut(event, "Ctrl-K");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return undefined;
  const key = event.key === "Escape" ? "Esc" : event.key;
  const whole = first ? `${first} ${key}` : key;
  first = !first && key === "g" ? "g" : "";
  if (typing && !event.target.closest("[role=dialog]")) return event.target.blur(); // Esc leaves the field first
  return carryOut(event, whole);
}

function carryOut(event, key) {
  const command = COMMANDS.find((each) => each.key === key && (each.when ?? (() => true))());
  const isAsking = state.asking || state.help || state.palette;
  if (!command || (isAsking && key !== "Esc")) return;
  event.preventDefault();
  command.run();
}

export const availableCommands = () => COMMANDS.filter((each) => (each.when ?? (() => true))());
