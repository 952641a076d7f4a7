/** What can go wrong: one class, a stable `code` for each case. No message ever holds a token, a code or a verifier. */

export type ErrorCode =
  /** There is no session (any more): the person has to sign in. `reason` says why. */
  | "sign_in_required"
  /** The token has to be refreshed and cannot be right now. The session is kept; try again, after `retryAfter` seconds if that is given. */
  | "refresh_unavailable"
  /**
   * A 401, a fresh token is there, but the body is a stream that cannot be sent twice. Nothing was resent. Build the
   * body again and repeat the call. `response` is the 401, unread.
   */
  | "not_replayable"
  /** RFC 9470: this request needs a fresher (`maxAge`, in seconds) or stronger (`acrValues`) sign-in. */
  | "step_up_required"
  /** Three automatic sign-in redirects within a minute: something else is wrong, so we stop. */
  | "login_loop"
  /** A callback of a sign-in that was used already, has expired, or began in a browser that keeps no storage. */
  | "login_attempt_unknown"
  /** A callback from another server than the one we asked (RFC 9207). */
  | "issuer_mismatch"
  /** The server answered the sign-in with an error; `reason` is its registered name. */
  | "authorization_refused"
  /**
   * The server did not take what the person typed (`@portero/browser/direct`): ask again. `reason` is `wrong`, with
   * `problems`, texts for the person; or `too_many_attempts`, and the next is looked at after `retryAfter` seconds.
   */
  | "credentials_refused"
  /** No tokens for the code. */
  | "code_refused"
  | "token_endpoint_unavailable"
  /** The ID token is not the answer to this sign-in. */
  | "id_token_invalid"
  /** The metadata of the server is missing, or is not this issuer's. */
  | "discovery_failed";

export interface ErrorDetails {
  readonly retryAfter?: number | undefined;
  readonly problems?: readonly string[] | undefined;
  readonly response?: Response | undefined;
  readonly acrValues?: string | undefined;
  /** Seconds, as the challenge wrote them. */
  readonly maxAge?: string | undefined;
  /** What was refused, to be sent again after the sign-in. */
  readonly request?: Request | undefined;
}

/** `name` is the code in camel case: `NotReplayableError`, `LoginLoopError`. */
export class PorteroError extends Error implements ErrorDetails {
  readonly code: ErrorCode;
  readonly reason: string;
  declare readonly retryAfter?: number | undefined;
  declare readonly problems?: readonly string[] | undefined;
  declare readonly response?: Response | undefined;
  declare readonly acrValues?: string | undefined;
  declare readonly maxAge?: string | undefined;
  declare readonly request?: Request | undefined;

  constructor(code: ErrorCode, reason: string, details?: ErrorDetails) {
    super(`${code}: ${reason}`);
    this.name = `_${code}_error`.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    this.code = code;
    this.reason = reason;
    Object.assign(this, details);
  }
}
