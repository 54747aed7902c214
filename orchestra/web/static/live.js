// The live link to a run: changed rows as they come, and beats, by which the page knows that what it shows is true.

import { encode, errorOf, post, requestHeaders } from "./api.js";

const STALE_AFTER = 10_500; // ms without a beat; the server sends one every 5 s
const SOCKET_PATH = "/api/v1/ws", STATUS = { NOT_FOUND: 404, UNAUTHORIZED: 401, GONE: 410 };
const LONGEST_PAUSE = 10_000, HIDDEN_MS = 60_000;

/**
 * Follow a run until the returned function is called. `onFrame(kind, data)` gets snapshot, rows and beat; `onState` gets
 * live, stale, lost or connecting, and when the server was last heard. After a break the link is made again from the last
 * number that was seen, after pauses that grow and differ. A page that is hidden for a minute leaves the link until it is
 * seen again.
 */
export function follow(run, onFrame, onState) {
  const link = { isOver: false, isHidden: false, seq: 0, pause: 500, heard: 0, since: Date.now(), abort: new AbortController(), wake: () => {} };
  const watch = setInterval(() => {
    if (Date.now() - Math.max(link.heard, link.since) > STALE_AFTER && !link.isHidden) {
      onState(link.heard ? "stale" : "lost", link.heard);
      link.since = Date.now();
      link.abort.abort();
    }
  }, 1000);
  let hiding = 0;
  const hideOrShow = () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => { link.isHidden = true; link.abort.abort(); }, HIDDEN_MS);
    else if (link.isHidden) {
      link.isHidden = false;
      onState("connecting", link.heard);
      link.wake();
    }
  };
  document.addEventListener("visibilitychange", hideOrShow);
  keepLinked(run, link, onFrame, onState);
  return () => {
    link.isOver = true;
    clearInterval(watch);
    clearTimeout(hiding);
    document.removeEventListener("visibilitychange", hideOrShow);
    link.abort.abort();
    link.wake();
  };
}

async function keepLinked(run, link, onFrame, onState) {
  while (!link.isOver) {
    Object.assign(link, { abort: new AbortController(), since: Date.now() });
    try {
      for await (const [kind, data] of readRun(run, link)) {
        link.heard = Date.now();
        link.seq = Math.max(link.seq, data.seq ?? 0);
        link.pause = 500;
        if (link.isOver) return;
        onFrame(kind, data);
        onState("live", link.heard);
      }
    } catch (error) {
      if (link.isOver) return;
      if ([401, 404, 410].includes(error.status)) return onState("lost", link.heard, error);
    }
    if (link.isOver) return;
    onState(link.heard ? "stale" : "lost", link.heard);
    await new Promise((done) => {
      link.wake = done;
      if (!link.isHidden) setTimeout(done, link.pause * (0.5 + Math.random() / 2));
    });
    link.pause = Math.min(link.pause * 2, LONGEST_PAUSE);
  }
}

async function* readRun(run, link) {
  try {
    return yield* readSocket(run, link);
  } catch (error) {
    // A proxy may not let WebSockets through: then the event stream is used.
    if (!(error instanceof NoSocket) || link.isOver) throw error;
    return yield* readStream(run, link);
  }
}

class NoSocket extends Error {}

/** Yield the messages of a WebSocket. Browsers open many of these, but only six streams. */
async function* readSocket(run, link) {
  const aborted = new Promise((_, fail) => link.abort.signal.addEventListener("abort", () => fail(new Error("aborted"))));
  aborted.catch(() => {}); // it is only waited for here:
  const { ticket } = await Promise.race([post("/tickets", { path: SOCKET_PATH }), aborted]);
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}${SOCKET_PATH}`, ["ao.v1", `ticket.${ticket}`]);
  const messages = [];
  let wake = () => {}, isOpen = false, isClosed = false;
  socket.onopen = () => {
    isOpen = true;
    socket.send(JSON.stringify({ type: "subscribe", run_id: run, after: link.seq }));
  };
  socket.onmessage = (event) => { messages.push(JSON.parse(event.data)); wake(); };
  socket.onclose = () => { isClosed = true; wake(); };
  link.abort.signal.addEventListener("abort", () => { isClosed = true; socket.close(); wake(); });
  try {
    for (;;) {
      while (messages.length) {
        const message = messages.shift();
        if (message.type === "error") throw Object.assign(new Error(message.message), { status: STATUS[message.code] ?? 500 });
        if (message.type === "gone") throw Object.assign(new Error("This run was deleted."), { status: 410 });
        if (message.type !== "subscribed") yield [message.type, message];
      }
      if (isClosed && !isOpen && !link.abort.signal.aborted) throw new NoSocket();
      if (isClosed) return;
      await new Promise((done) => { wake = done; });
    }
  } finally {
    socket.close();
  }
}

async function* readStream(run, link) {
  const path = `/api/v1/runs/${encode(run)}/stream?after=${link.seq}`;
  const response = await fetch(path, { headers: requestHeaders(), signal: link.abort.signal });
  if (!response.ok) throw await errorOf(response);
  yield* readFrames(response.body);
}

/** Read server-sent events from a body. */
async function* readFrames(body) {
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
