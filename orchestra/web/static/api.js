// Requests to the server, and the stream of a run's changed rows. The token comes with the address, in its fragment,
// and is kept for this origin (which includes the port). There is no cookie.

const KEY = "aider-orchestrator-token";
const STALE_AFTER = 12_000; // ms without a beat
const LONGEST_PAUSE = 10_000;

/** Take the token out of the address bar. */
export function takeToken() {
  const given = /^#t=([\w-]+)$/.exec(location.hash);
  if (given) {
    localStorage.setItem(KEY, given[1]);
    history.replaceState(null, "", "/#/");
  }
  return localStorage.getItem(KEY) ?? "";
}

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = error?.code ?? "";
  }
}

function headers(more = {}) {
  return { Authorization: `Bearer ${localStorage.getItem(KEY) ?? ""}`, ...more };
}

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body.error);
  return body;
}

export async function get(path) {
  return answer(await fetch(`/api/v1${path}`, { headers: headers() }));
}

export async function post(path, values = {}, more = {}) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json", ...more }), body: JSON.stringify(values) };
  return (await answer(await fetch(`/api/v1${path}`, options))).data;
}

/** Open a file of the server in a tab of its own, with a ticket: a link cannot carry the token. */
export async function openFile(path) {
  const tab = window.open("", "_blank"); // at once, or the browser takes it for an advertisement
  const whole = `/api/v1${path}`;
  const { ticket } = await post("/tickets", { path: whole }).catch((error) => { tab.close(); throw error; });
  tab.location = `${whole}?ticket=${ticket}`;
}

/**
 * Follow a run until `stop` is called. `onFrame(kind, data)` gets snapshot, rows and beat; `onState` gets live, stale or
 * lost. The stream is asked again from the last number that was seen, after pauses that grow.
 */
export function follow(run, onFrame, onState) {
  let stopped = false, seq = 0, pause = 500, heard = 0, abort = new AbortController();
  const watch = setInterval(() => {
    if (heard && Date.now() - heard > STALE_AFTER) {
      onState("stale", heard);
      abort.abort();
    }
  }, 1000);
  (async () => {
    while (!stopped) {
      abort = new AbortController();
      try {
        const path = `/api/v1/runs/${encodeURIComponent(run)}/stream?after=${seq}`;
        const response = await fetch(path, { headers: headers(), signal: abort.signal });
        if (!response.ok) throw new ApiError(response.status, (await response.json().catch(() => ({}))).error);
        for await (const [kind, data] of frames(response.body)) {
          heard = Date.now();
          seq = Math.max(seq, data.seq);
          pause = 500;
          onFrame(kind, data);
          onState("live", heard);
        }
      } catch (error) {
        if (stopped) return;
        if (error.status === 404 || error.status === 401) return onState("lost", 0, error);
      }
      if (!stopped) onState(heard ? "stale" : "lost", heard);
      await new Promise((done) => setTimeout(done, pause * (0.5 + Math.random() / 2)));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  })();
  return () => {
    stopped = true;
    clearInterval(watch);
    abort.abort();
  };
}

/** Read server-sent events from a body. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s)));
      text = text.slice(end + 2);
      yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
