/**
 * Entry point `@portero/browser/bff`: the tokens stay on your server, the page has an HttpOnly cookie (RFC 10017 §6.1).
 *
 * The same session as everywhere else, with nothing in it that a script could steal. The server side is Portero's
 * browser session, mounted under `base`: `GET base` says who is signed in (or 401), `GET base/sign-in?return_to=` leads
 * to the sign-in page and back, `POST base/sign-out` ends it.
 */
import { PorteroError } from "./errors.ts";
import { tokenChallenge } from "./protocol/challenge.ts";
import { coreOf, type TabMessage } from "./session/core.ts";
import type { Environment } from "./session/environment.ts";
import { safeReturnTo } from "./session/return-to.ts";
import type { Session, SignInOptions } from "./session/session.ts";
import { countAutomatic, type Fail } from "./session/sign-in.ts";
import { tabsOf } from "./session/tabs.ts";

export interface BffConfig {
  /** Where the browser session is mounted, on this origin. Default: `/session`. */
  readonly base?: string;
  readonly autoSignIn?: boolean;
  readonly defaultReturnTo?: string;
  readonly environment?: Environment;
}

/** A request with this header cannot be made by a form or an image of another site; with any other site's script it needs a preflight. */
export const CSRF_HEADER = "X-Portero";

const fail: Fail = (code, reason) => new PorteroError(code, reason);

export interface BffSession extends Session {
  /** Settled when it is known whether somebody is signed in. */
  readonly ready: Promise<void>;
}

/** A session kept by a cookie. It asks the server at once who is signed in. */
export function createPortero({ base = "/session", autoSignIn = true, ...config }: BffConfig = {}): BffSession {
  const core = coreOf({ ...config, issuer: base, clientId: "bff", redirectUri: "" });
  const { environment } = core;
  const own = new URL(base, environment.href());
  const tabs = tabsOf(core, heard);
  let leaving: Promise<void> | undefined;
  let known: { readonly sub?: string; readonly [name: string]: unknown } | null = null;
  let checking: Promise<void> | undefined;

  const { on } = environment;
  const stops = [
    on("pageshow", (event) => {
      if (!(event as PageTransitionEvent).persisted) return;
      tabs.open();
      leaving = undefined;
      core.transition("sign_in_failed", "came back");
      if (tabs.missedSignOut()) ended("signed_out_elsewhere", "another tab");
      void check();
    }),
    on("pagehide", tabs.close),
    on("visibilitychange", () => {
      if (environment.visible() && tabs.missedSignOut()) ended("signed_out_elsewhere", "another tab");
    }),
  ];

  const session: BffSession = {
    ready: check(),

    get state() {
      return core.state;
    },

    onEvent(listener) {
      core.listeners.add(listener);
      return () => core.listeners.delete(listener);
    },

    onChange: (listener) =>
      session.onEvent((event) => {
        if (event.type === "transition") listener(event.to, event);
      }),

    signIn: (options = {}) => go(options, false),

    handleCallback: () => check().then(() => null),

    async fetch(input, init) {
      const { body } = init ?? {};
      const request = new Request(input, { ...init, ...(typeof body === "function" ? { body: body(), duplex: "half" } : {}) } as RequestInit);
      // A cookie and a bearer token in one request are refused; and no other origin has this cookie.
      if (new URL(request.url).origin !== own.origin || request.headers.has("authorization")) return fetch(request, { credentials: "omit" });
      const again = request.clone();
      const response = await send(request);
      if (response.status === 401) {
        // A service's own word, passed on: the server has refreshed, if that could help, and the session goes on.
        const { parameters } = tokenChallenge(response.headers.get("www-authenticate")) ?? {};
        if (parameters) {
          const { error, acr_values: acrValues, max_age: maxAge } = parameters;
          if (error !== "insufficient_user_authentication") return response;
          if (autoSignIn) await go({ acrValues, maxAge }, true);
          throw new PorteroError("step_up_required", error, { acrValues, maxAge, request: again });
        }
        ended("refresh_refused", "401");
        if (autoSignIn) await go({}, true);
        throw new PorteroError("sign_in_required", "401", { response });
      }
      return response;
    },

    refresh: check,

    async signOut({ redirect, returnTo } = {}) {
      ended("sign_out", "user");
      core.tell({ kind: "signed_out" });
      core.step("revoke.sent", "user", own.href);
      await send(new Request(`${own.href}/sign-out`, { method: "POST", keepalive: true })).catch(() => core.step("revoke.failed", "user"));
      if (redirect) environment.navigate(safeReturnTo(returnTo, environment.href(), config.defaultReturnTo));
    },

    getTokenInfo: () => known && { age: 0, storage: "cookie", refreshable: true, unverifiedClaims: known },

    dispose() {
      for (const stop of stops) stop();
      tabs.close();
      core.end("dispose", "disposed", false);
      queueMicrotask(() => queueMicrotask(() => core.listeners.clear()));
    },
  };
  return session;

  function send(request: Request): Promise<Response> {
    const { signal } = core.era;
    const sent = new Request(request, { credentials: "same-origin", signal: AbortSignal.any([request.signal, signal]) });
    sent.headers.set(CSRF_HEADER, "1");
    return fetch(sent);
  }

  /** Ask who is signed in. Whatever goes wrong on the way changes nothing: only the server's own 401 does. */
  function check(): Promise<void> {
    return (checking ??= (async () => {
      const response = await send(new Request(own)).catch(() => null);
      if (response?.status === 401) ended("signed_out_elsewhere", "401");
      const person = response?.ok ? ((await response.json().catch(() => null)) as typeof known) : null;
      if (!person) return;
      if (known && known.sub !== person.sub) ended("user_changed", "server");
      const news = !known;
      known = person;
      core.transition("restored", "cookie");
      if (news) core.tell({ kind: "signed_in", sub: person.sub });
    })().finally(() => (checking = undefined)));
  }

  function go(options: SignInOptions, automatic: boolean): Promise<void> {
    core.transition("sign_in", automatic ? "automatic" : "asked");
    return (leaving ??= leave(options, automatic).catch((error: unknown) => {
      leaving = undefined;
      core.transition("sign_in_failed", "failed");
      throw error;
    }));
  }

  async function leave({ returnTo, acrValues, maxAge, prompt, loginHint }: SignInOptions, automatic: boolean): Promise<void> {
    if (automatic) await countAutomatic(core, fail);
    const here = environment.href();
    const url = new URL(`${own.href}/sign-in`);
    const query = { return_to: safeReturnTo(returnTo ?? here, here, config.defaultReturnTo), acr_values: acrValues, max_age: maxAge, prompt, login_hint: loginHint };
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
    core.step("sign_in.navigate", "redirect", url.href);
    environment.navigate(url.href);
  }

  function ended(cause: "refresh_refused" | "signed_out_elsewhere" | "user_changed" | "sign_out", reason: string): void {
    known = null;
    // From `signed_in` a refusal passes through `refreshing`: the server tried, on our behalf.
    if (cause === "refresh_refused") core.transition("refresh", reason);
    core.end(cause, reason, false);
  }

  function heard(message: TabMessage): void {
    if (message.kind === "signed_out") {
      tabs.missedSignOut();
      ended("signed_out_elsewhere", "another tab");
    } else if (message.kind === "signed_in" && known?.sub !== message.sub) {
      if (known) ended("user_changed", "another tab");
      void check();
    }
  }
}
