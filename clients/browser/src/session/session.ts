/** A session in one page: what the application sees. */
import { PorteroError } from "../errors.ts";
import type { Grant } from "../protocol/token.ts";
import type { PorteroConfig } from "./config.ts";
import { coreOf, type TabMessage } from "./core.ts";
import type { Listener, SessionEvent } from "./events.ts";
import type { State } from "./machine.ts";
import { refresherOf } from "./refresher.ts";
import type { FetchInit } from "./replay.ts";
import { senderOf } from "./sender.ts";
import type { By, Fail, LeaveOptions, Returned } from "./sign-in.ts";
import { tabsOf } from "./tabs.ts";
import { unverifiedClaims } from "./tokens.ts";

export interface SignInOptions {
  /** Where to be afterwards. Default: this page. Anything but this origin becomes `defaultReturnTo`. */
  readonly returnTo?: string;
  readonly prompt?: string;
  readonly loginHint?: string;
  readonly acrValues?: string | undefined;
  /** Seconds. */
  readonly maxAge?: number | string | undefined;
  /** Try this first, from this page (`@portero/browser/direct`); the sign-in page only where the server asks for it. */
  readonly by?: By;
}

/** For a page that shows what is going on: lives and ages in seconds, by the names of the wire. Nothing in it is a token. */
export interface TokenInfo extends Omit<Grant, "access_token" | "refresh_token" | "id_token"> {
  /** Since the tokens were asked for: what is left of `expires_in` is `expires_in - age`. */
  readonly age: number;
  readonly storage: string;
  /** There is a refresh token. */
  readonly refreshable: boolean;
  /** What the access token says, if it is a JWT. Unverified: never decide anything by it. */
  readonly unverifiedClaims: Record<string, unknown> | null;
}

export interface Session {
  readonly state: State;
  /** Hear every event; returns how to stop. Called later, never in the middle of something. */
  onEvent(listener: Listener): () => void;
  /** Hear the changes of state; returns how to stop. */
  onChange(listener: (state: State, event: Extract<SessionEvent, { type: "transition" }>) => void): () => void;
  /** Go to the sign-in page. Many calls are one navigation. With `by`: resolves signed in, where that was enough. */
  signIn(options?: SignInOptions): Promise<void>;
  /**
   * On the redirect URI: turn the answer into a session. Null when this address is no answer. Call it as often as you
   * like; the code is exchanged once.
   *
   * When it throws, no session has begun, and `signIn()` is the way on.
   */
  handleCallback(href?: string): Promise<Returned | null>;
  /**
   * Like the global `fetch`, with the token for the allowed origins, and a refresh and one repetition when it is needed.
   *
   * Throws PorteroError (`sign_in_required`, `refresh_unavailable`, `not_replayable`, `step_up_required`, `login_loop`)
   * and whatever `fetch` throws. A 401 that comes back is one that no refresh cures.
   */
  fetch(this: void, input: RequestInfo | URL, init?: FetchInit): Promise<Response>;
  /** Refresh now. Joins the refresh that is under way, if there is one. */
  refresh(): Promise<void>;
  /**
   * Forget everything here and in the other tabs, at once; then tell the server, best effort. `redirect`: also end the
   * sign-in at the authorization server, and come back to `returnTo`.
   */
  signOut(options?: { readonly redirect?: boolean; readonly returnTo?: string }): Promise<void>;
  getTokenInfo(): TokenInfo | null;
  /** Leave no timer, listener or channel behind. What is stored stays stored. */
  dispose(): void;
}

const signInPart = () => import("./sign-in.ts");
const fail: Fail = (code, reason) => new PorteroError(code, reason);

export function sessionOf(config: PorteroConfig): Session {
  const core = coreOf(config);
  const { environment, store, transport } = core;
  const refresher = refresherOf(core);
  const send = senderOf(core, refresher);
  const tabs = tabsOf(core, heard);
  const callbacks = new Map<string, Promise<Returned>>();
  let leaving: Promise<void> | undefined;

  const { on } = environment;
  const stops = [
    on("online", resumed),
    on("visibilitychange", resumed),
    on("pageshow", (event) => {
      if ((event as PageTransitionEvent).persisted) {
        tabs.open();
        if (leaving) stay("came back");
      }
      resumed();
    }),
    on("pagehide", tabs.close),
    on("storage", look),
  ];
  const restored = core.stored();
  if (restored) {
    core.hold(restored);
    core.transition("restored", core.storageKind);
  }
  core.changed = () => refresher.tick();
  core.changed();

  const session: Session = {
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

    signIn: (options = {}) => go(options),

    async handleCallback(href = environment.href()) {
      const url = new URL(href);
      const answer = url.searchParams;
      const state = answer.get("state");
      if (state === null || !(answer.has("code") || answer.has("error"))) return null;
      let callback = callbacks.get(state);
      if (!callback) callbacks.set(state, (callback = orStay(signInPart().then(({ exchange }) => exchange(core, fail, url)))));
      return callback;
    },

    async fetch(input, init) {
      try {
        return await send(input, init, callbacks.values());
      } catch (error) {
        const { code, reason } = error as PorteroError;
        // Whoever signed out by hand is not sent to sign in again.
        const wanted = code === "step_up_required" || (code === "sign_in_required" && reason !== "user");
        if (wanted && (config.autoSignIn ?? true) && core.state !== "disposed") await go(error as PorteroError, true);
        throw error;
      }
    },

    async refresh() {
      await refresher.refresh("asked");
    },

    async signOut({ redirect, returnTo } = {}) {
      const refreshToken = core.stored()?.refresh_token;
      core.end("sign_out", "user");
      core.tell({ kind: "signed_out" });
      const told = Promise.all([core.revoke(refreshToken), transport.forget?.()]);
      if (redirect) await (await signInPart()).endSession(core, returnTo);
      else await told;
    },

    getTokenInfo() {
      if (!core.tokens) return null;
      const { access_token, refresh_token, id_token, id, at, sub, ...rest } = core.tokens;
      return { ...rest, age: core.age(), storage: core.storageKind, refreshable: !!refresh_token, unverifiedClaims: unverifiedClaims(access_token) };
    },

    dispose() {
      for (const stop of stops) stop();
      tabs.close();
      // What is stored stays: this is the end of the page's part, not of the session.
      core.end("dispose", "disposed", false);
      refresher.stop();
      queueMicrotask(() => queueMicrotask(() => core.listeners.clear()));
    },
  };
  return session;

  function go(options: LeaveOptions, automatic?: boolean): Promise<void> {
    // The last way out led to a session in this page (`by`), or was given up.
    if (core.state !== "signing_in") leaving = undefined;
    core.transition("sign_in", automatic ? "automatic" : "asked");
    return (leaving ??= orStay(signInPart().then(({ leave }) => leave(core, fail, options, automatic))));
  }

  function orStay<T>(way: Promise<T>): Promise<T> {
    return way.catch((error: unknown) => {
      stay((error as PorteroError).code ?? "failed");
      throw error;
    });
  }

  /** The way out did not lead out: it failed, or the person came back with the back button. */
  function stay(reason: string): void {
    leaving = undefined;
    core.transition("sign_in_failed", reason);
    if (core.tokens) core.transition("restored", reason);
  }

  function heard(message: TabMessage): void {
    if (message.kind === "signed_out") endedElsewhere();
    else {
      if (message.kind === "signed_in" && core.tokens && core.tokens.sub !== message.sub) core.end("user_changed", "another tab", !store.shared);
      look();
    }
  }

  function endedElsewhere(): void {
    tabs.missedSignOut();
    if (core.tokens || core.state === "signing_in") core.end("signed_out_elsewhere", "another tab");
  }

  /** Compare with the store that all tabs share. */
  function look(): void {
    const { tokens } = core;
    const stored = core.stored();
    if (!store.shared || stored?.access_token === tokens?.access_token) return;
    if (tokens && stored?.sub !== tokens.sub) core.end(stored ? "user_changed" : "signed_out_elsewhere", "another tab", false);
    if (!stored) return;
    core.hold(stored);
    core.transition("adopted", "another tab");
  }

  function resumed(): void {
    if (tabs.missedSignOut()) endedElsewhere();
    look();
    if (environment.visible()) refresher.tick(true);
  }
}
