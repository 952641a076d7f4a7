/** What a session keeps, how old it is, and what it may tell. */
import { decodeBase64url } from "../protocol/base64url.ts";
import type { Grant } from "../protocol/token.ts";

/** Kept as JSON in the store. Times: `at` in milliseconds of the wall clock, everything else in seconds. */
export interface Tokens extends Grant {
  /** This sign-in, in this browser: part of the names of locks. Random, and no secret. */
  readonly id: string;
  /** When the request that brought these tokens was sent. */
  readonly at: number;
  /** Who it is, as far as the tokens tell. Unverified: for display and for noticing a change of user. */
  readonly sub?: string | undefined;
}

/** The claims of a JWT that came straight from the token endpoint. Nothing is verified; null when it is no JWT. */
export function unverifiedClaims(jwt: string | undefined): Record<string, unknown> | null {
  try {
    return JSON.parse(new TextDecoder().decode(decodeBase64url(jwt!.split(".")[1]!))) as Record<string, unknown>;
  } catch {
    return null;
  }
}

export function tokensFrom(grant: Grant, id: string, at: number, previous?: Tokens): Tokens {
  const { sub } = unverifiedClaims(grant.id_token) ?? unverifiedClaims(grant.access_token) ?? {};
  // What the answer does not repeat stays as it was: RFC 6749 §5.1 for the scope, §6 for the refresh token.
  const { refresh_token, scope, id_token, sub: known } = previous ?? ({} as Partial<Tokens>);
  return { refresh_token, scope, id_token, ...grant, id, at, sub: (sub as string | undefined) ?? known } as Tokens;
}

/** Milliseconds since 1970; may jump. */
export const wall = () => Date.now();
/** Milliseconds; never jumps, but may stand still while the machine sleeps. */
export const steady = () => performance.now();

/**
 * The age of a token, in seconds, that never errs on the young side.
 *
 * Two clocks, the larger answer: the steady one does not see a sleeping machine, the wall clock may be set back. A wall
 * clock that jumps ahead costs one refresh and no more. `iat` and `exp` of the token are never looked at: the server's
 * clock is not ours, and a client cannot read an access token anyway.
 */
export function ageOf({ at }: Tokens): () => number {
  const elapsed = wall() - at;
  // Stored "in the future": the wall clock went back since, so the true age is unknown. Then it is old.
  const steadyAt = elapsed < -1000 ? -Infinity : steady() - Math.max(elapsed, 0);
  return () => Math.max(steady() - steadyAt, wall() - at) / 1000;
}

/** Seconds of life after which a token is not sent any more: 5 s before its end, or the last tenth of a short one. */
export function usableFor({ expires_in: life = Infinity }: Grant): number {
  return life - Math.min(5, life / 10);
}

/** Not sooner than this, whatever the server says: a proactive refresh must never become a loop. */
const SOONEST = 10;

/** Seconds of life after which a proactive refresh is due, `jitter` (0 to 1) spreading the tabs. */
export function dueAfter(grant: Grant, jitter: number): number {
  const usable = usableFor(grant);
  const due = Math.max(grant.refresh_after ?? (grant.expires_in ?? Infinity) * 0.75, SOONEST);
  // So short a token is refreshed when somebody needs it.
  return due < usable ? due + jitter * Math.min(30, (usable - due) / 2) : Infinity;
}
