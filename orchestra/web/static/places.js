// Where the page is: everything that can be seen has an address, so that a toast, a bookmark or Back leads to it.

const TABS = ["graph", "timeline", "table", "log", "files", "gates", "cost", "plan", "settings"];
const PARTS = ["brief", "attempts", "reviews", "diff", "conversation", "gates"];
const SCREENS = ["queue", "new", "plans", "agents", "locks", "stats", "health"];

/** Read an address: #/runs/RUN/TAB/TASK/PART, #/plans/NAME, or a screen's name. */
export function readPlace(hash) {
  const [screen, name, ...rest] = hash.replace(/^#\//, "").split("/").map(decode);
  if (screen === "runs" && name) {
    const tab = TABS.includes(rest[0]) ? rest[0] : "graph";
    const task = /^\d+$/.test(rest[1] ?? "") ? Number(rest[1]) : null;
    return { screen: "run", run: name, tab, task, part: PARTS.includes(rest[2]) ? rest[2] : "" };
  }
  if (screen === "plans" && name) return { screen: "plan", plan: name, repository: rest[0] ?? "" };
  return { screen: SCREENS.includes(screen) ? screen : "runs" };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function runPlace({ run, tab = "graph", task = null, part = "" }) {
  const parts = ["runs", run, ...(task === null ? (tab === "graph" ? [] : [tab]) : [tab, task]), ...(part ? [part] : [])];
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export const planPlace = (name, repository) => `#/plans/${encodeURIComponent(name)}/${encodeURIComponent(repository)}`;
