/** A backend for frontend for the tests: what mode `bff` talks to. It checks the header and the cookie, like the real one. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { json } from "./authorization-server.ts";

export interface BffCall {
  readonly path: string;
  readonly method: string;
  readonly header: string | undefined;
  readonly cookie: string | undefined;
  readonly authorization: string | undefined;
}

export class BrowserSession {
  readonly calls: BffCall[] = [];
  readonly signIns: URLSearchParams[] = [];
  user = "bob";
  /** Sessions that the server knows, by cookie value. */
  readonly sessions = new Map<string, string>();
  /** What the next calls of the API meet. */
  readonly faults: number[] = [];
  /** The challenge of the next 401 of the API: a service's own, passed on. */
  challenge: string | undefined;
  #last = 0;

  handles(path: string): boolean {
    return path === "/session" || path.startsWith("/session/") || path.startsWith("/api/");
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "http://app");
    const cookie = /\bsession=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
    const header = request.headers["x-portero"] as string | undefined;
    this.calls.push({ path: url.pathname, method: request.method!, header, cookie, authorization: request.headers.authorization });
    if (url.pathname === "/session/sign-in") {
      this.signIns.push(url.searchParams);
      const id = `s${++this.#last}`;
      this.sessions.set(id, this.user);
      response.writeHead(302, { "Set-Cookie": `session=${id}; HttpOnly; SameSite=Strict; Path=/`, Location: url.searchParams.get("return_to")! });
      return void response.end();
    }
    if (header !== "1") return json(response, 403, { error: "no custom header" });
    if (cookie && request.headers.authorization) return json(response, 400, { error: "two credentials" });
    const fault = url.pathname.startsWith("/api/") ? this.faults.shift() : undefined;
    if (fault === 401 && this.challenge) response.setHeader("WWW-Authenticate", this.challenge);
    if (fault) return json(response, fault, {});
    const sub = cookie && this.sessions.get(cookie);
    if (!sub) return json(response, 401, {});
    if (url.pathname === "/session/sign-out") this.sessions.delete(cookie);
    json(response, 200, { sub });
  }
}
