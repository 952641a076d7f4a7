/** What can go wrong, each with a stable `code`. No message ever holds a token, a code or a verifier. */

export class PorteroError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = "PorteroError";
  }
}

/** There is no session (any more): the person has to sign in. `reason` says why, when it is known. */
export class SignInRequiredError extends PorteroError {
  readonly reason: string;

  constructor(reason: string) {
    super("sign_in_required", `sign in required: ${reason}`);
    this.reason = reason;
  }
}

/** The token has to be refreshed and cannot be right now. The session is kept; try again later. */
export class RefreshUnavailableError extends PorteroError {
  readonly reason: string;
  /** Seconds the server asked us to wait. */
  readonly retryAfter: number | undefined;

  constructor(reason: string, retryAfter?: number) {
    super("refresh_unavailable", `the token cannot be refreshed now: ${reason}`);
    this.reason = reason;
    this.retryAfter = retryAfter;
  }
}

/**
 * The request met a 401, a fresh token is there, but the body cannot be sent a second time (a one-shot stream).
 * Nothing was resent. Build the body again and repeat the call.
 */
export class NotReplayableError extends PorteroError {
  /** The 401, unread. */
  readonly response: Response;

  constructor(response: Response) {
    super("not_replayable", "401, and the body of this request is a stream that cannot be sent twice");
    this.response = response;
  }
}

/** Three automatic sign-in redirects within a minute: something else is wrong, so we stop. */
export class LoginLoopError extends PorteroError {
  constructor() {
    super("login_loop", "three automatic sign-in redirects within 60 seconds; sign in by hand");
  }
}

/** RFC 9470: this request needs a fresher or stronger sign-in. */
export class StepUpRequiredError extends PorteroError {
  readonly acrValues: string | undefined;
  /** Seconds. */
  readonly maxAge: number | undefined;

  constructor(acrValues: string | undefined, maxAge: number | undefined) {
    super("step_up_required", "this request needs a fresher or stronger sign-in");
    this.acrValues = acrValues;
    this.maxAge = maxAge;
  }
}

/**
 * The return from the authorization server did not end in a session. Codes: `login_attempt_unknown` (the attempt was
 * used, has expired, or began in a browser that keeps no storage), `issuer_mismatch`, `authorization_refused`,
 * `code_refused`, `token_endpoint_unavailable`, `id_token_invalid`.
 */
export class CallbackError extends PorteroError {
  /** The registered `error` of the server, when there was one. */
  readonly error: string | undefined;

  constructor(code: string, message: string, error?: string) {
    super(code, message);
    this.error = error;
  }
}

/** The discovery document is missing, or is not this issuer's. */
export class DiscoveryError extends PorteroError {
  constructor(message: string, options?: ErrorOptions) {
    super("discovery_failed", message, options);
  }
}
