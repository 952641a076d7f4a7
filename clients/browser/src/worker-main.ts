/** What runs in the worker of `@portero/browser/worker`: a whole session, whose page is far away. */
import { dpop } from "./dpop.ts";
import type { PorteroError } from "./errors.ts";
import type { Environment } from "./session/environment.ts";
import { sessionOf, type Session } from "./session/session.ts";
import type { Login } from "./session/logins.ts";
import type { Ask, Call, PageState, SentError, SentResponse, ToPage, ToWorker } from "./worker-protocol.ts";

interface Scope {
  postMessage(message: ToPage, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

const scope = globalThis as unknown as Scope;
const aborts = new Map<number, AbortController>();
const answers = new Map<number, (value: unknown) => void>();
const handlers = new Map<string, (event: Event) => void>();
let page: PageState = { href: "", visible: true, online: true };
let session: Session;
let asked = 0;

const post = (message: ToPage, transfer: Transferable[] = []) => scope.postMessage(message, transfer);

function ask<T>(question: Ask): Promise<T> {
  const id = ++asked;
  post({ kind: "ask", id, ask: question });
  return new Promise((resolve) => answers.set(id, resolve as (value: unknown) => void));
}

const environment: Environment = {
  href: () => page.href,
  navigate: (url) => post({ kind: "navigate", url }),
  replaceUrl: (url) => post({ kind: "replaceUrl", url }),
  visible: () => page.visible,
  online: () => page.online,
  logins: {
    put: (prefix, login) => ask({ what: "put", prefix, login }),
    take: (prefix, state) => ask<Login | null>({ what: "take", prefix, state }),
  },
  redirects: (key, at) => ask({ what: "redirects", key, at }),
  on(type, handler) {
    handlers.set(type, handler);
    return () => handlers.delete(type);
  },
};

// Only when this file is a worker: importing it elsewhere does nothing.
if (typeof document === "undefined" && "importScripts" in globalThis) {
  scope.onmessage = ({ data }) => {
    switch (data.kind) {
      case "call":
        page = data.page;
        return void run(data.id, data.call);
      case "abort":
        return aborts.get(data.id)?.abort();
      case "answer":
        answers.get(data.id)?.(data.value);
        return void answers.delete(data.id);
      case "event":
        page = data.page;
        handlers.get(data.type)?.({ persisted: data.persisted } as unknown as Event);
    }
  };
}

async function run(id: number, call: Call): Promise<void> {
  try {
    const value = await perform(id, call);
    if (value instanceof Response) {
      const [response, transfer] = sent(value);
      post({ kind: "result", id, response }, transfer);
    } else post({ kind: "result", id, value });
  } catch (error) {
    const { name, message, code, reason, retryAfter, acrValues, maxAge, response } = error as PorteroError;
    const [answer, transfer] = response ? sent(response) : [undefined, []];
    const known: SentError = { name, message, ...(typeof code === "string" ? { code, reason } : {}), ...(answer ? { response: answer } : {}) };
    post({ kind: "result", id, error: { ...known, retryAfter, acrValues, maxAge } }, transfer);
  } finally {
    aborts.delete(id);
  }
}

async function perform(id: number, call: Call): Promise<unknown> {
  switch (call.method) {
    case "create": {
      const { dpop: bound = true, ...config } = call.config;
      session = sessionOf({ ...config, environment, ...(bound ? { transport: dpop(config) } : {}) });
      session.onEvent((event) => {
        post({ kind: "state", state: session.state, info: session.getTokenInfo() });
        post({ kind: "event", event });
      });
      return;
    }
    case "fetch": {
      const { url, init, body } = call.request;
      const abort = new AbortController();
      aborts.set(id, abort);
      return session.fetch(url, { ...init, body, signal: abort.signal, ...(body instanceof ReadableStream ? { duplex: "half" } : {}) } as RequestInit);
    }
    case "signIn":
      return session.signIn(call.options);
    case "signOut":
      return session.signOut(call.options);
    case "handleCallback":
      return session.handleCallback(call.href);
    case "refresh":
      return session.refresh();
    case "dispose":
      return session.dispose();
  }
}

function sent({ url, redirected, status, statusText, headers, body }: Response): [SentResponse, Transferable[]] {
  return [{ url, redirected, status, statusText, headers: [...headers], body }, body ? [body] : []];
}
