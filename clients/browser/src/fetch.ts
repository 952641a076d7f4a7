/** Entry point `@portero/browser/fetch`: a `fetch` for one API, with its address and its JSON. */
import type { Session } from "./session/session.ts";
import type { FetchInit } from "./session/replay.ts";

export interface ApiInit extends Omit<FetchInit, "body"> {
  readonly body?: Exclude<FetchInit["body"], undefined>;
  /** Sent as JSON, instead of `body`. */
  readonly json?: unknown;
}

/** The API said no. `problem` is the body, when it was JSON (RFC 9457). */
export class HttpError extends Error {
  readonly response: Response;
  readonly problem: unknown;

  constructor(response: Response, problem: unknown) {
    super(`HTTP ${response.status}`);
    this.name = "HttpError";
    this.response = response;
    this.problem = problem;
  }
}

/** `const orders = apiOf(session, "https://api.example/orders/")`, then `await orders<Order>("17")`. Throws HttpError unless 2xx. */
export function apiOf(session: Pick<Session, "fetch">, base: string): <T = unknown>(path: string, init?: ApiInit) => Promise<T> {
  return async <T>(path: string, { json, ...init }: ApiInit = {}) => {
    const headers = new Headers(init.headers);
    if (json !== undefined) headers.set("Content-Type", "application/json");
    const sent: FetchInit = { ...init, headers, ...(json === undefined ? {} : { body: JSON.stringify(json), method: init.method ?? "POST" }) };
    const response = await session.fetch(new URL(path, base), sent);
    const text = await response.text();
    const body: unknown = /\bjson\b/.test(response.headers.get("content-type") ?? "") && text ? JSON.parse(text) : text;
    if (!response.ok) throw new HttpError(response, body);
    return body as T;
  };
}
