/**
 * The refresh: one flight for everybody, one attempt per refresh token, and only a refusal ends the session.
 */
import { PorteroError } from "../errors.ts";
import { sha256Text } from "../protocol/base64url.ts";
import { refreshRequest, type TokenOutcome } from "../protocol/token.ts";
import { until, type Core } from "./core.ts";
import { dueAfter, steady, usableFor, wall, type Tokens } from "./tokens.ts";

type Outcome =
  | Exclude<TokenOutcome, { kind: "granted" }>
  | { readonly kind: "refreshed" | "adopted"; readonly tokens: Tokens }
  /** No session any more: signed out, or somebody else's. */
  | { readonly kind: "over" };

export interface Refresher {
  /** A token that is good to send: what we have, or a new one. A proactive refresh never makes a caller wait. */
  usable(signal: AbortSignal): Promise<Tokens>;
  /** A token other than `stale`: another request or another tab may have fetched it already. */
  replace(stale: Tokens, reason: string, signal: AbortSignal): Promise<Tokens>;
  refresh(reason: string): Promise<Tokens>;
  /** Look at the clocks: refresh, or say when to look again. `resumed`: the network or the person came back. */
  tick(resumed?: boolean): void;
  stop(): void;
}

/** Seconds. No timer is longer: it looks at the clocks again, for sleeping machines and throttled tabs. */
const LONGEST_TIMER = 300;

export function refresherOf(core: Core): Refresher {
  const { store, environment, config } = core;
  const { lock: lockMs = 5000, superseded: windowMs = 11_000 } = config.limits ?? {};
  const jitter = Math.random();
  let flight: { readonly era: AbortController; readonly promise: Promise<Tokens> } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let failure = "";
  /** Steady milliseconds: not at all before `notBefore`, and not on our own before `retryAt`. */
  let notBefore = 0;
  let retryAt = 0;

  return { usable, replace, refresh, tick, stop };

  async function usable(signal: AbortSignal): Promise<Tokens> {
    const { tokens } = core;
    if (!tokens) throw new PorteroError("sign_in_required", core.state);
    const age = core.age();
    if (age >= usableFor(tokens)) return replace(tokens, "expired", signal);
    if (age >= dueAfter(tokens, jitter)) tick();
    return tokens;
  }

  async function replace(stale: Tokens, reason: string, signal: AbortSignal): Promise<Tokens> {
    const { tokens } = core;
    if (tokens && tokens.access_token !== stale.access_token) return tokens;
    const retryAfter = Math.ceil((notBefore - steady()) / 1000);
    if (!flying() && retryAfter > 0) throw new PorteroError("refresh_unavailable", failure, { retryAfter });
    return until(refresh(reason), signal);
  }

  function refresh(reason: string): Promise<Tokens> {
    const current = flying();
    if (current) return current;
    const promise = run(reason).finally(() => {
      if (flight?.promise !== promise) return;
      flight = undefined;
      tick();
    });
    flight = { era: core.era, promise };
    return promise;
  }

  /** The flight of this sign-in; one that a sign-out has left behind lands on its own. */
  function flying(): Promise<Tokens> | undefined {
    return flight?.era === core.era ? flight.promise : undefined;
  }

  function tick(resumed = false): void {
    stop();
    const { state, tokens } = core;
    const waiting = state === "waiting";
    // A page nobody looks at asks for nothing: an idle session has to be able to end.
    if (flying() || !tokens || !(waiting || (state === "signed_in" && environment.visible()))) return;
    const wait = waiting ? ((resumed ? notBefore : retryAt) - steady()) / 1000 : dueAfter(tokens, jitter) - core.age();
    if (wait <= 0) refresh(waiting ? "retry" : "proactive").catch(() => {});
    else timer = setTimeout(tick, Math.min(wait, LONGEST_TIMER) * 1000);
  }

  function stop(): void {
    clearTimeout(timer);
  }

  async function run(reason: string): Promise<Tokens> {
    const { tokens: before, era } = core;
    const { signal } = era;
    if (!before) throw new PorteroError("sign_in_required", core.state);
    core.transition("refresh", reason);
    for (let again = false; ; again = true) {
      const outcome = await store.exclusively(before.id, lockMs, () => once(before, signal, again));
      signal.throwIfAborted();
      if ("tokens" in outcome) {
        const { kind, tokens } = outcome;
        failures = notBefore = 0;
        core.transition(kind, reason);
        if (kind === "refreshed") core.tell({ kind });
        return tokens;
      }
      if (outcome.kind === "unavailable") throw failed(outcome.reason, outcome.retryAfter);
      if (outcome.kind === "over") core.end("signed_out_elsewhere", "another tab", false);
      else if (outcome.reason === "superseded" && !again) {
        // Design §3.2: somebody used the successor. Wait out the window, and a second, and ask once more with a new
        // attempt: not proven, so if a thief won the race, this is what exposes him (decision 0021).
        core.step("refresh.waits", outcome.reason);
        await until(new Promise((resolve) => setTimeout(resolve, windowMs)), signal);
      } else {
        core.end("refresh_refused", outcome.reason);
        if (store.shared) core.tell({ kind: "signed_out" });
      }
      signal.throwIfAborted();
    }
  }

  function failed(reason: string, retryAfter: number | undefined): PorteroError {
    const now = steady();
    const backOff = Math.min(60, 2 ** failures++) * (500 + Math.random() * 500);
    failure = reason;
    // A server that is unwell is left alone even by impatient callers; a dead network may be tried at any time.
    notBefore = now + (retryAfter !== undefined ? retryAfter * 1000 : /^(offline|network|discovery_failed)$/.test(reason) ? 0 : backOff);
    retryAt = Math.max(now + backOff, notBefore);
    core.transition("refresh_failed", reason);
    return new PorteroError("refresh_unavailable", reason, { retryAfter });
  }

  /** One look at the store and at most one POST. This is what the lock encloses: no callback, and a bounded time. */
  async function once(before: Tokens, over: AbortSignal, again: boolean): Promise<Outcome> {
    for (;;) {
      const tokens = core.stored();
      if (over.aborted || tokens?.id !== before.id) return { kind: "over" };
      if (tokens.access_token !== before.access_token) {
        core.step("refresh.adopted", core.state);
        core.hold(tokens);
        if (core.age() < usableFor(tokens)) return { kind: "adopted", tokens };
      }
      const { refresh_token: refreshToken } = tokens;
      if (!refreshToken) return { kind: "refused", reason: "expired" };
      const refreshAttempt = await store.attempt(await sha256Text(refreshToken + (again ? "2" : "")));
      // Ours to use only if it is still the one: a slow disk is enough for another tab to overtake.
      if (core.stored()?.refresh_token !== refreshToken) continue;

      const sentAt = wall();
      const { clientId } = config;
      const outcome = await core.ask("refresh.sent", (metadata) => refreshRequest(metadata, { clientId, refreshToken, refreshAttempt }));
      const granted = outcome.kind === "granted";
      core.step("refresh.answered", granted ? outcome.kind : outcome.reason);
      const stored = core.stored();
      const same = !over.aborted && stored?.id === before.id;
      const overtaken = stored?.refresh_token !== refreshToken;
      if (granted) {
        const { grant } = outcome;
        if (!same) {
          core.drop(grant.refresh_token ?? refreshToken);
          return { kind: "over" };
        }
        // Another tab may have stored the same successor already: it sent the same attempt.
        if (!overtaken || stored.refresh_token === grant.refresh_token) {
          return { kind: "refreshed", tokens: core.keep(grant, before.id, sentAt, tokens) };
        }
      } else if (!(same && overtaken) || outcome.kind === "unavailable") return outcome;
      // Another tab is ahead: what it has stored counts, and not what we were told.
    }
  }
}
