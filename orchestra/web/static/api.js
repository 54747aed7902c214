// Requests to the server. The token comes with the address, in its fragment, and is kept for this origin (which includes
// the port). There is no cookie.

const KEY = "aider-orchestrator-token";
const TAB = crypto.randomUUID().slice(0, 4); // what a person is told who decides in another tab
const LONGEST_READ = 30_000; // ms; a proxy that swallows a request must not hold the page for ever

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

export const encode = encodeURIComponent;
export const requestHeaders = (more = {}) => ({ Authorization: `Bearer ${localStorage.getItem(KEY) ?? ""}`, "X-Tab": TAB, ...more });
export const errorOf = async (response) => new ApiError(response.status, (await response.json().catch(() => ({}))).error);

async function ask(method, path, more = {}, values = undefined) {
  const body = values === undefined ? undefined : JSON.stringify(values);
  const headers = requestHeaders(body === undefined ? more : { "Content-Type": "application/json", ...more });
  const signal = method === "GET" ? AbortSignal.timeout(LONGEST_READ) : undefined;
  const response = await fetch(`/api/v1${path}`, { method, headers, body, signal });
  if (!response.ok) throw await errorOf(response);
  return response;
}

export const get = async (path) => (await ask("GET", path)).json();
export const getText = async (path, more = {}) => (await ask("GET", path, more)).text();
export const post = async (path, values = {}, more = {}) => (await (await ask("POST", path, more, values)).json()).data;
export const put = async (path, values, more = {}) => (await (await ask("PUT", path, more, values)).json()).data;

/** Open a file of the server in a tab of its own, with a ticket: a link cannot carry the token. */
export async function openFile(path) {
  const tab = window.open("", "_blank"); // at once, or the browser takes it for an advertisement
  const whole = `/api/v1${path}`;
  const { ticket } = await post("/tickets", { path: whole }).catch((error) => { tab.close(); throw error; });
  tab.location = `${whole}?ticket=${ticket}`;
}
