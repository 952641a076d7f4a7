/**
 * Entry point `@portero/browser/worker`: the session lives in a Web Worker, and so do both tokens.
 *
 * The worker sends the requests itself; the page hands them in and gets the answers. A script in the page can still ask
 * for anything the page may ask for, while it runs there; it can carry no token away.
 */
import { PorteroError, type ErrorCode } from "./errors.ts";
import type { PorteroConfig } from "./session/config.ts";
import { page } from "./session/environment.ts";
import { pageLogins, pageRedirects } from "./session/logins.ts";
import type { Listener } from "./session/events.ts";
import { streams, type FetchInit } from "./session/replay.ts";
import type { Session, TokenInfo } from "./session/session.ts";
import type { Ask, Call, SentError, SentResponse, ToPage, ToWorker } from "./worker-protocol.ts";

/** What can be sent to a worker. Storage is memory: the worker's own, gone with the page. */
export interface WorkerConfig extends Omit<PorteroConfig, "storage" | "transport" | "environment" | "keepRequestOverStepUp"> {
  /** Bind the tokens to a key that cannot be exported (RFC 9449). Default: true. */
  readonly dpop?: boolean;
}

/** `worker` runs `@portero/browser/worker-main`: `new Worker(new URL(…), { type: "module" })`. */
export function createPortero(config: WorkerConfig, worker: Worker): Session {
  const calls = new Map<number, { readonly resolve: (value: never) => void; readonly reject: (error: unknown) => void }>();
  const listeners = new Set<Listener>();
  let last = 0;
  let state: Session["state"] = "signed_out";
  let info: TokenInfo | null = null;
  let informed = 0;

  const here = () => ({ href: page.href(), visible: page.visible(), online: page.online() });
  const post = (message: ToWorker, transfer: Transferable[] = []) => worker.postMessage(message, transfer);

  worker.onmessage = ({ data }: MessageEvent<ToPage>) => {
    switch (data.kind) {
      case "result": {
        const call = calls.get(data.id);
        calls.delete(data.id);
        if (data.error) call?.reject(errorOf(data.error));
        else call?.resolve((data.response ? responseOf(data.response) : data.value) as never);
        return;
      }
      case "event":
        for (const listener of listeners) queueMicrotask(() => listener(data.event));
        return;
      case "state":
        ({ state, info } = data);
        informed = performance.now();
        return;
      case "navigate":
      case "replaceUrl":
        return page[data.kind](data.url);
      case "ask":
        void answer(data.ask).then((value) => post({ kind: "answer", id: data.id, value }));
    }
  };
  worker.onerror = (event) => {
    for (const { reject } of calls.values()) reject(new Error(`the worker failed: ${event.message}`));
    calls.clear();
  };
  const stops = ["online", "visibilitychange", "pageshow"].map((type) =>
    page.on(type, (event) => post({ kind: "event", type, persisted: (event as PageTransitionEvent).persisted, page: here() })),
  );
  void call<void>({ method: "create", config }).catch(() => {});

  const session: Session = {
    get state() {
      return state;
    },
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onChange: (listener) =>
      session.onEvent((event) => {
        if (event.type === "transition") listener(event.to, event);
      }),
    signIn: (options = {}) => call({ method: "signIn", options }),
    handleCallback: (href = page.href()) => call({ method: "handleCallback", href }),
    fetch: send,
    refresh: () => call({ method: "refresh" }),
    signOut: (options = {}) => call({ method: "signOut", options }),
    getTokenInfo: () => info && { ...info, age: info.age + (performance.now() - informed) / 1000 },
    dispose() {
      for (const stop of stops) stop();
      listeners.clear();
      state = "disposed";
      info = null;
      // The worker ends with its tokens.
      worker.terminate();
      for (const { reject } of calls.values()) reject(new PorteroError("sign_in_required", "disposed"));
      calls.clear();
    },
  };
  return session;

  function call<T>(asked: Call, transfer: Transferable[] = [], signal?: AbortSignal): Promise<T> {
    if (state === "disposed") return Promise.reject(new PorteroError("sign_in_required", "disposed"));
    const id = ++last;
    return new Promise<T>((resolve, reject) => {
      signal?.throwIfAborted();
      calls.set(id, { resolve: resolve as never, reject });
      signal?.addEventListener("abort", () => {
        reject(signal.reason as Error);
        post({ kind: "abort", id });
      });
      post({ kind: "call", id, call: asked, page: here() }, transfer);
    });
  }

  async function send(input: RequestInfo | URL, init: FetchInit = {}): Promise<Response> {
    const given = init.body;
    const request = new Request(input, { ...init, ...(typeof given === "function" ? { body: given(), duplex: "half" } : {}) } as RequestInit);
    const { url, method, mode, credentials, cache, redirect, referrer, referrerPolicy, integrity, keepalive, signal } = request;
    const body = streams(request) ? request.body : request.body && (await request.arrayBuffer());
    // `about:client` is the page; a worker has another one.
    const sent = { method, mode, credentials, cache, redirect, referrerPolicy, integrity, keepalive, headers: [...request.headers] as [string, string][] };
    const from = referrer === "about:client" ? {} : { referrer };
    return call({ method: "fetch", request: { url, init: { ...sent, ...from }, body } }, body ? [body] : [], signal);
  }

  async function answer(asked: Ask): Promise<unknown> {
    if (asked.what === "put") return pageLogins.put(asked.prefix, asked.login);
    if (asked.what === "take") return pageLogins.take(asked.prefix, asked.state);
    return pageRedirects(asked.key, asked.at);
  }
}

function responseOf({ url, redirected, body, ...init }: SentResponse): Response {
  const response = new Response(body, { ...init, headers: init.headers as [string, string][] });
  return Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } });
}

function errorOf({ name, message, code, reason, response, ...details }: SentError): Error {
  if (code !== undefined) return new PorteroError(code as ErrorCode, reason!, { ...details, ...(response ? { response: responseOf(response) } : {}) });
  return name === "TypeError" ? new TypeError(message) : new DOMException(message, name);
}
