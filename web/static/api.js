// The only module that talks to the server.

/** What the server refused: `message` is a sentence for people, `position` points into a query. */
export class ApiError extends Error {
  constructor(message, status, body = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.position = body.position;
    this.body = body;
  }
}

/**
 * Ask the server and return the JSON of its answer.
 *
 * `query` becomes the query string (undefined, null and "" are left out, lists repeat the name),
 * `json` or `form` (FormData) the body. Throws ApiError, and AbortError when `signal` fires.
 */
export async function api(path, { method, query, json, form, signal } = {}) {
  const address = withQuery(path, query);
  const request = {
    method: method ?? (json === undefined && !form ? "GET" : "POST"),
    signal,
    headers: { Accept: "application/json" },
  };
  if (json !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(json);
  } else if (form) {
    request.body = form;
  }
  let answer;
  try {
    answer = await fetch(address, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer; is `clipsearch serve` still running?", 0);
  }
  if (answer.status === 401) location.assign("/login");
  const body = await answer.json().catch(() => null);
  if (!answer.ok || body?.ok === false) {
    throw new ApiError(
      body?.error ?? `The server answered with status ${answer.status}.`,
      answer.status,
      body ?? {},
    );
  }
  return body;
}

export function withQuery(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null && each !== "") search.append(name, each);
    }
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export const thumbnailUrl = (id, size) => withQuery(`/api/photos/${id}/thumbnail`, { size });
export const originalUrl = (id) => `/api/photos/${id}/original`;

/**
 * Follow server-sent events: `on` maps event names ("message" too) to functions of the parsed data.
 *
 * Returns a function that stops.
 */
export function follow(path, on, onError) {
  const source = new EventSource(path);
  for (const [name, action] of Object.entries(on)) {
    source.addEventListener(name, (event) => action(event.data ? JSON.parse(event.data) : null));
  }
  if (onError) source.addEventListener("error", onError);
  return () => source.close();
}
