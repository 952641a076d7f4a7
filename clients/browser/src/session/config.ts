/** How a session is configured. Read once, when it is created. */
import type { Environment } from "./environment.ts";
import type { Storage } from "./store.ts";
import type { Transport } from "./transport.ts";

export interface PorteroConfig {
  /** The authorization server, exactly as it names itself. */
  readonly issuer: string;
  readonly clientId: string;
  /** Where the server sends the browser back to; registered there, character by character. */
  readonly redirectUri: string;
  /** Who gets the token. Compared as parsed origins. Default: the origin of the page, and nobody else. */
  readonly allowedOrigins?: readonly string[];
  readonly scope?: string;
  /** Resource indicators (RFC 8707): the services the token is for. */
  readonly resources?: readonly string[];
  /** Default: memory. The others are in `@portero/browser/storage`. */
  readonly storage?: Storage;
  /** Go to the sign-in page when a request needs it. Default: true. False: only an error and an event. */
  readonly autoSignIn?: boolean;
  /** Where to land after sign-in when nothing better is known. Default: `/`. */
  readonly defaultReturnTo?: string;
  /** Repeat POST, PUT, PATCH and DELETE after a 401 *without* a challenge too. Only if your servers never act before such a 401. */
  readonly replayUnsafe?: boolean;
  /**
   * Keep a request that needs a step-up (RFC 9470) over the redirect, in the storage that keeps the sign-in attempt, up to
   * 64 kB. `handleCallback` gives it back. Default: false; its body may be something that should not lie there.
   */
  readonly keepRequestOverStepUp?: boolean;
  /** A name for one of several accounts in one browser. They know nothing of each other. */
  readonly account?: string;
  /** Default: Bearer. DPoP (RFC 9449) is in `@portero/browser/dpop`. */
  readonly transport?: Transport;
  /** Milliseconds; 10,000, 5,000 and 11,000 by default. What each trades: a shorter refresh gives up on slow networks; a shorter lock sends more equal refreshes; `superseded` must be longer than the window of the server. */
  readonly limits?: { readonly refresh?: number; readonly lock?: number; readonly superseded?: number };
  readonly environment?: Environment;
}
