/** A session in one page: what the application sees. */
import { SignInRequiredError, StepUpRequiredError } from "../errors.ts";
import type { PorteroConfig } from "./config.ts";
import { Core, type TabMessage } from "./core.ts";
import type { Listener, SessionEvent } from "./events.ts";
import type { State } from "./machine.ts";
import { Refresher } from "./refresher.ts";
import type { FetchInit } from "./replay.ts";
import { Sender } from "./sender.ts";
import { Tabs } from "./tabs.ts";
import { unverifiedClaims } from "./tokens.ts";

export interface SignInOptions {
  /** Where to be afterwards. Default: this page. Anything but this origin becomes `defaultReturnTo`. */
  readonly returnTo?: string;
  readonly prompt?: string;
  readonly loginHint?: string;
  readonly acrValues?: string | undefined;
  /** Seconds. */
  readonly maxAge?: number | undefined;
}

/** For a page that shows what is going on. Seconds; nothing in it is a token. */
export interface TokenInfo {
  readonly tokenType: string;
  readonly storage: string;
  readonly scope: string | undefined;
  /** Of the access token; negative when it is past its end. */
  readonly expiresIn: number | undefined;
  readonly refreshAfter: number | undefined;
  readonly refreshTokenExpiresIn: number | undefined;
  readonly sessionExpiresIn: number | undefined;
  readonly refreshable: boolean;
  /** What the access token says, if it is a JWT. Unverified: never decide anything by it. */
  readonly unverifiedClaims: Record<string, unknown> | null;
}

const signInPart = () => import("./sign-in.ts");

export class Session {
  readonly #core: Core;
  readonly #refresher: Refresher;
  readonly #sender: Sender;
  readonly #tabs: Tabs;
  readonly #callbacks = new Map<string, Promise<{ readonly returnTo: string }>>();
  readonly #stops: (() => void)[];
  #leaving: Promise<void> | undefined;

  constructor(config: PorteroConfig) {
    const core = (this.#core = new Core(config));
    this.#refresher = new Refresher(core);
    this.#sender = new Sender(core, this.#refresher);
    this.#tabs = new Tabs(core, (message) => this.#heard(message));
    const { on } = core.environment;
    this.#stops = [
      on("online", () => this.#resumed()),
      on("visibilitychange", () => this.#resumed()),
      on("pageshow", (event) => this.#shown(event as PageTransitionEvent)),
      on("pagehide", () => this.#tabs.close()),
      on("storage", () => this.#look()),
    ];
    const stored = core.stored();
    if (stored) {
      core.hold(stored, false);
      core.transition("restored", core.storageKind);
    }
    core.changed = () => this.#refresher.tick();
    core.changed();
  }

  get state(): State {
    return this.#core.state;
  }

  /** Hear every event; returns how to stop. Called later, never in the middle of something. */
  onEvent(listener: Listener): () => void {
    this.#core.listeners.add(listener);
    return () => this.#core.listeners.delete(listener);
  }

  /** Hear the changes of state; returns how to stop. */
  onChange(listener: (state: State, event: Extract<SessionEvent, { type: "transition" }>) => void): () => void {
    return this.onEvent((event) => {
      if (event.type === "transition") listener(event.to, event);
    });
  }

  /** Go to the sign-in page. Many calls are one navigation. */
  signIn(options: SignInOptions = {}): Promise<void> {
    this.#core.transition("sign_in", options.acrValues || options.maxAge !== undefined ? "step_up" : "asked");
    return (this.#leaving ??= this.#orStay(signInPart().then(({ leave }) => leave(this.#core, options))));
  }

  /**
   * On the redirect URI: turn the answer into a session. Null when this address is no answer. Call it as often as you
   * like; the code is exchanged once.
   *
   * Throws CallbackError; then no session has begun, and `signIn()` is the way on.
   */
  async handleCallback(href = this.#core.environment.href()): Promise<{ readonly returnTo: string } | null> {
    const url = new URL(href);
    const { searchParams: answer } = url;
    const state = answer.get("state");
    if (state === null || !(answer.has("code") || answer.has("error"))) return null;
    let callback = this.#callbacks.get(state);
    if (!callback) {
      callback = this.#orStay(signInPart().then(({ exchange }) => exchange(this.#core, url)));
      this.#callbacks.set(state, callback);
    }
    return callback;
  }

  /**
   * Like the global `fetch`, with the token for the allowed origins, and a refresh and one repetition when it is needed.
   *
   * Throws SignInRequiredError, RefreshUnavailableError, NotReplayableError, StepUpRequiredError, LoginLoopError, and
   * whatever `fetch` throws. A 401 that comes back is one that no refresh cures.
   */
  fetch = async (input: RequestInfo | URL, init?: FetchInit): Promise<Response> => {
    try {
      return await this.#sender.fetch(input, init, this.#callbacks.values());
    } catch (error) {
      const { autoSignIn = true } = this.#core.config;
      if (autoSignIn && this.state !== "disposed") {
        if (error instanceof StepUpRequiredError) await this.#automatic(error);
        else if (error instanceof SignInRequiredError && error.reason !== "user") await this.#automatic();
      }
      throw error;
    }
  };

  /** Refresh now. Joins the refresh that is under way, if there is one. */
  async refresh(): Promise<void> {
    if (!this.#core.tokens) throw new SignInRequiredError("signed_out");
    await this.#refresher.refresh("asked");
  }

  /**
   * Forget everything here and in the other tabs, at once; then tell the server, best effort. `redirect`: also end the
   * sign-in at the authorization server, and come back to `returnTo`.
   */
  async signOut(options: { readonly redirect?: boolean; readonly returnTo?: string } = {}): Promise<void> {
    const core = this.#core;
    const refreshToken = (core.store.shared ? core.stored() : core.tokens)?.refreshToken;
    core.end("sign_out", "user");
    core.tell({ kind: "signed_out" });
    const revoked = core.revoke(refreshToken);
    void core.config.proofs?.forget();
    if (!options.redirect) return revoked;
    await (await signInPart()).endSession(core, options.returnTo);
  }

  getTokenInfo(): TokenInfo | null {
    const { tokens, age, storageKind } = this.#core;
    if (!tokens || !age) return null;
    const seconds = age.seconds();
    const left = (life: number | undefined) => (life === undefined ? life : life - seconds);
    return {
      tokenType: tokens.tokenType,
      storage: storageKind,
      scope: tokens.scope,
      expiresIn: left(tokens.expiresIn),
      refreshAfter: left(tokens.refreshAfter),
      refreshTokenExpiresIn: left(tokens.refreshTokenExpiresIn),
      sessionExpiresIn: left(tokens.sessionExpiresIn),
      refreshable: tokens.refreshToken !== undefined,
      unverifiedClaims: unverifiedClaims(tokens.accessToken),
    };
  }

  /** Leave no timer, listener or channel behind. What is stored stays stored. */
  dispose(): void {
    this.#core.transition("dispose", "disposed");
    for (const stop of this.#stops) stop();
    this.#tabs.close();
    this.#refresher.stop();
    this.#core.era.abort(new SignInRequiredError("disposed"));
    this.#core.tokens = this.#core.age = null;
    queueMicrotask(() => this.#core.listeners.clear());
  }

  #orStay<T>(way: Promise<T>): Promise<T> {
    return way.catch((error: unknown) => {
      this.#stay((error as { code?: string }).code ?? "failed");
      throw error;
    });
  }

  /** The way out did not lead out: it failed, or the person came back with the back button. */
  #stay(reason: string): void {
    this.#leaving = undefined;
    this.#core.transition("sign_in_failed", reason);
    if (this.#core.tokens) this.#core.transition("restored", "tokens kept");
  }

  async #automatic(stepUp?: StepUpRequiredError): Promise<void> {
    if (this.#leaving) return;
    const { countAutomatic } = await signInPart();
    if (this.#leaving) return;
    countAutomatic(this.#core);
    await this.signIn({ acrValues: stepUp?.acrValues, maxAge: stepUp?.maxAge });
  }

  #heard(message: TabMessage): void {
    const core = this.#core;
    if (message.kind === "signed_out") this.#endedElsewhere();
    else if (message.kind === "signed_in" && core.tokens && core.tokens.subject !== message.subject) {
      core.end("user_changed", "another user signed in", !core.store.shared);
      this.#look();
    } else this.#look();
  }

  #endedElsewhere(): void {
    const core = this.#core;
    this.#tabs.missedSignOut();
    if (core.tokens || core.state === "signing_in") core.end("signed_out_elsewhere", "another tab");
  }

  /** Compare with the store that all tabs share. */
  #look(): void {
    const core = this.#core;
    if (!core.store.shared || core.state === "disposed") return;
    const stored = core.stored();
    if (!stored) {
      if (core.tokens) core.end("signed_out_elsewhere", "another tab", false);
    } else if (stored.accessToken !== core.tokens?.accessToken) {
      if (core.tokens && core.tokens.subject !== stored.subject) core.end("user_changed", "another user signed in", false);
      core.hold(stored, false);
      core.transition("adopted", "another tab");
      this.#refresher.tick();
    }
  }

  #shown(event: PageTransitionEvent): void {
    if (event.persisted) {
      this.#tabs.open();
      if (this.#leaving) this.#stay("came back");
    }
    this.#resumed();
  }

  #resumed(): void {
    const core = this.#core;
    if (this.#tabs.missedSignOut()) this.#endedElsewhere();
    this.#look();
    if (core.environment.visible()) this.#refresher.tick(true);
  }
}
