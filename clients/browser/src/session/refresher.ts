/**
 * The refresh: one flight for everybody, one attempt per refresh token, and only a refusal ends the session.
 */
import { RefreshUnavailableError, SignInRequiredError } from "../errors.ts";
import { sha256Text } from "../protocol/base64url.ts";
import { processTokenResponse, refreshRequest, unavailable, type TokenOutcome } from "../protocol/token.ts";
import { until, type Core } from "./core.ts";
import { dueAfter, tokensFrom, usableFor, type Tokens } from "./tokens.ts";

type Outcome =
  | Exclude<TokenOutcome, { kind: "granted" }>
  | { readonly kind: "refreshed" | "adopted"; readonly tokens: Tokens }
  | { readonly kind: "over" };

/** No timer longer than this: it looks at the clocks again, for sleeping machines and throttled tabs. */
const LONGEST_TIMER = 300;

export class Refresher {
  readonly #core: Core;
  readonly #jitter = Math.random();
  #flight: { readonly era: AbortController; readonly promise: Promise<Tokens> } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** Steady milliseconds: not again on our own before `#retryAt`, not at all before `#notBefore`. */
  #retryAt = 0;
  #notBefore = 0;
  #failure = "";

  constructor(core: Core) {
    this.#core = core;
  }

  /** A token that is good to send: what we have, or a new one. A proactive refresh never makes a caller wait. */
  async usable(signal: AbortSignal): Promise<Tokens> {
    const { tokens, age } = this.#core;
    if (!tokens || !age) throw new SignInRequiredError("signed_out");
    const seconds = age.seconds();
    if (seconds < usableFor(tokens)) {
      if (seconds >= dueAfter(tokens, this.#jitter)) this.tick();
      return tokens;
    }
    return this.replace(tokens, "expired", signal);
  }

  /** A token other than `stale`: another request or another tab may have fetched it already. */
  async replace(stale: Tokens, reason: string, signal: AbortSignal): Promise<Tokens> {
    const { tokens } = this.#core;
    if (tokens && tokens.accessToken !== stale.accessToken) return tokens;
    const wait = this.#notBefore - this.#core.clock.steady();
    if (!this.#flying && wait > 0) throw new RefreshUnavailableError(this.#failure, Math.ceil(wait / 1000));
    return until(this.refresh(reason), signal);
  }

  refresh(reason: string): Promise<Tokens> {
    if (this.#flying) return this.#flying;
    const { era } = this.#core;
    const promise = this.#run(reason).finally(() => {
      if (this.#flight?.promise !== promise) return;
      this.#flight = undefined;
      this.tick();
    });
    this.#flight = { era, promise };
    return promise;
  }

  /** The flight of this sign-in; one that a sign-out has left behind lands on its own. */
  get #flying(): Promise<Tokens> | undefined {
    return this.#flight?.era === this.#core.era ? this.#flight.promise : undefined;
  }

  /** Look at the clocks: refresh, or say when to look again. `resumed`: the network or the person came back. */
  tick(resumed = false): void {
    clearTimeout(this.#timer);
    const { state, tokens, age, environment, clock } = this.#core;
    if (this.#flying || !tokens || !age) return;
    const now = clock.steady();
    let wait: number;
    if (state === "waiting") wait = ((resumed ? this.#notBefore : this.#retryAt) - now) / 1000;
    // A page nobody looks at asks for nothing: an idle session has to be able to end.
    else if (state === "signed_in" && environment.visible()) wait = dueAfter(tokens, this.#jitter) - age.seconds();
    else return;
    if (wait <= 0) this.refresh(state === "waiting" ? "retry" : "proactive").catch(() => {});
    else this.#timer = setTimeout(() => this.tick(), Math.min(wait, LONGEST_TIMER) * 1000);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #run(reason: string): Promise<Tokens> {
    const core = this.#core;
    const { era, tokens: before } = core;
    if (!before) throw new SignInRequiredError("signed_out");
    core.transition("refresh", reason);
    for (let superseded = false; ; superseded = true) {
      const outcome = await core.store.exclusively(before.id, core.config.limits?.lock ?? 5000, () => this.#once(before, era.signal));
      era.signal.throwIfAborted();
      switch (outcome.kind) {
        case "refreshed":
        case "adopted":
          this.#failures = this.#notBefore = 0;
          core.transition(outcome.kind, reason);
          if (outcome.kind === "refreshed") core.tell({ kind: "refreshed" });
          return outcome.tokens;
        case "refused":
          if (outcome.reason === "superseded" && !superseded) {
            // Design §3.2: somebody used the successor. Wait out the window and ask once more; if a thief won the
            // race, that is what exposes him.
            core.step("refresh.waits", "superseded");
            await until(new Promise((resolve) => setTimeout(resolve, core.config.limits?.superseded ?? 10_000)), era.signal);
            continue;
          }
          core.end("refresh_refused", outcome.reason);
          if (core.store.shared) core.tell({ kind: "signed_out" });
          throw new SignInRequiredError(outcome.reason);
        case "unavailable":
          throw this.#failed(outcome.reason, outcome.retryAfter);
        case "over":
          core.end("signed_out_elsewhere", "storage_empty", false);
          throw new SignInRequiredError("signed_out_elsewhere");
      }
    }
  }

  #failed(reason: string, retryAfter: number | undefined): RefreshUnavailableError {
    const core = this.#core;
    const now = core.clock.steady();
    const backOff = Math.min(60, 2 ** this.#failures++) * (0.5 + Math.random() / 2);
    this.#failure = reason;
    // A server that is unwell is left alone even by impatient callers; a dead network may be tried at any time.
    const passing = reason === "offline" || reason === "network" || reason === "discovery_failed";
    this.#notBefore = now + (retryAfter ?? (passing ? 0 : backOff)) * 1000;
    this.#retryAt = Math.max(now + backOff * 1000, this.#notBefore);
    core.transition("refresh_failed", reason);
    core.step("refresh.retry_scheduled", `${Math.round((this.#retryAt - now) / 1000)} s`);
    return new RefreshUnavailableError(reason, retryAfter);
  }

  /** One look at the store and at most one POST. This is what the lock encloses: no callback, and a bounded time. */
  async #once(before: Tokens, over: AbortSignal): Promise<Outcome> {
    const core = this.#core;
    for (;;) {
      const tokens = core.stored();
      if (over.aborted || tokens?.id !== before.id) return { kind: "over" };
      if (tokens.accessToken !== before.accessToken) {
        core.step("refresh.adopted", "another tab was faster");
        core.hold(tokens, false);
        if (core.age!.seconds() < usableFor(tokens)) return { kind: "adopted", tokens };
      }
      const { refreshToken } = tokens;
      if (!refreshToken) return { kind: "refused", reason: "expired" };
      const attempt = await core.store.attempt(await sha256Text(refreshToken));
      // Ours to use only if it is still the one: a slow disk is enough for another tab to overtake.
      if (core.stored()?.refreshToken !== refreshToken) continue;

      const sentAt = core.clock.wall();
      const outcome = await this.#exchange(refreshToken, attempt);
      core.step("refresh.answered", outcome.kind === "granted" ? "granted" : outcome.reason);
      const stored = core.stored();
      const same = !over.aborted && stored?.id === before.id;
      if (outcome.kind === "granted") {
        const successor = outcome.grant.refreshToken;
        if (!same) {
          // Signed out meanwhile: these tokens must not bring anybody back, and nobody shall find them.
          core.step("refresh.dropped", "signed out during the refresh");
          void core.revoke(successor ?? refreshToken);
          return { kind: "over" };
        }
        if (stored.refreshToken === refreshToken || stored.refreshToken === successor) {
          return { kind: "refreshed", tokens: core.hold(tokensFrom(outcome.grant, before.id, sentAt, tokens), true) };
        }
      }
      // Refused, or overtaken: before that means anything, see what another tab has stored.
      if (same && stored.refreshToken !== refreshToken && outcome.kind !== "unavailable") continue;
      return outcome.kind === "granted" ? { kind: "over" } : outcome;
    }
  }

  async #exchange(refreshToken: string, refreshAttempt: string): Promise<TokenOutcome> {
    const core = this.#core;
    try {
      const metadata = await core.metadata();
      core.step("refresh.sent", core.state, metadata.token_endpoint);
      const request = refreshRequest(metadata, { clientId: core.config.clientId, refreshToken, refreshAttempt });
      return await processTokenResponse(await core.send(request), core.clock.wall());
    } catch (error) {
      return unavailable(error, core.environment.online());
    }
  }
}
