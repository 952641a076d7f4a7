/** The token endpoint: the refresh request, and the answer to every grant (RFC 6749 §5, §6; design §3.2). */
import { retryAfterSeconds } from "./retry-after.ts";
import type { ServerMetadata } from "./metadata.ts";

/** A granted answer, by the names of the wire. Times are in seconds. */
export interface Grant {
  readonly access_token: string;
  /** Absent when the server does not say. */
  readonly expires_in?: number;
  /** Absent: the one we have stays good. */
  readonly refresh_token?: string;
  /** Until a proactive refresh is welcome. */
  readonly refresh_after?: number;
  readonly refresh_token_expires_in?: number;
  readonly session_expires_in?: number;
  readonly scope?: string;
  readonly id_token?: string;
}

const TEXTS = ["access_token", "refresh_token", "scope", "id_token"];
const SECONDS = ["expires_in", "refresh_after", "refresh_token_expires_in", "session_expires_in"];

/** Why our server refused a refresh token; `invalid_grant` when it (or a stranger's server) did not say. */
export type RefusalReason = "expired" | "revoked" | "reused" | "superseded" | "invalid_grant";

/** Why there is no answer that says anything about our token. */
export type UnavailableReason =
  "offline" | "network" | "timeout" | "rate_limited" | "server_error" | "bad_answer" | "client_refused" | "discovery_failed";

/** Only `refused` says that the token is no longer good. Everything else keeps it. */
export type TokenOutcome =
  | { readonly kind: "granted"; readonly grant: Grant }
  | { readonly kind: "refused"; readonly reason: RefusalReason }
  | { readonly kind: "unavailable"; readonly reason: UnavailableReason; readonly retryAfter?: number | undefined };

export function formPost(url: string, fields: Record<string, string> | string[][]): Request {
  // `redirect: "error"`: a captive portal redirects, a token endpoint never does; and a token must not follow.
  return new Request(url, { method: "POST", body: new URLSearchParams(fields), credentials: "omit", redirect: "error" });
}

/**
 * `refreshAttempt` is 22 characters of base64url that were stored *before* this is sent, and that stay the same for
 * this refresh token for ever: the server answers a repeated attempt with the same successor.
 */
export function refreshRequest(
  metadata: ServerMetadata,
  fields: { readonly clientId: string; readonly refreshToken: string; readonly refreshAttempt: string },
): Request {
  return formPost(metadata.token_endpoint, {
    grant_type: "refresh_token",
    client_id: fields.clientId,
    refresh_token: fields.refreshToken,
    refresh_attempt: fields.refreshAttempt,
  });
}

export function revocationRequest(url: string, fields: { readonly clientId: string; readonly refreshToken: string }): Request {
  return new Request(
    formPost(url, { token: fields.refreshToken, token_type_hint: "refresh_token", client_id: fields.clientId }),
    { keepalive: true },
  );
}

/**
 * Sort the answer of the token endpoint. `nowMs` is the wall clock, for a `Retry-After` that is a date.
 *
 * Does not check: the access token itself; it is opaque to a client (RFC 6749 §1.4).
 */
export async function processTokenResponse(response: Response, nowMs: number): Promise<TokenOutcome> {
  const { status, ok } = response;
  const unavailable = (reason: UnavailableReason): TokenOutcome => ({
    kind: "unavailable",
    reason,
    retryAfter: retryAfterSeconds(response.headers, nowMs),
  });
  if (status === 429) return unavailable("rate_limited");
  if (status >= 500) return unavailable("server_error");
  const answer = (await response.json().catch(() => null)) as Record<string, unknown> | null;
  const { error, error_reason: reason } = answer ?? {};
  if (!ok && error === "invalid_grant") {
    return { kind: "refused", reason: /^(expired|revoked|reused|superseded)$/.test(`${reason as string}`) ? (reason as RefusalReason) : error };
  }
  const grant: Record<string, unknown> = {};
  // What has the wrong type is as good as absent.
  for (const name of TEXTS) if (typeof answer?.[name] === "string" && answer[name]) grant[name] = answer[name];
  for (const name of SECONDS) if ((answer?.[name] as number) >= 0) grant[name] = Number(answer![name]);
  if (!ok || !grant["access_token"]) return unavailable(!ok && typeof error === "string" ? "client_refused" : "bad_answer");
  return { kind: "granted", grant: grant as unknown as Grant };
}

/** An exception of `fetch` as an outcome. */
export function unavailable(error: unknown, online: boolean): TokenOutcome {
  const { name, code } = error as { name?: string; code?: unknown };
  const reason = code === "discovery_failed" ? code : /^(Timeout|Abort)Error$/.test(`${name}`) ? "timeout" : online ? "network" : "offline";
  return { kind: "unavailable", reason };
}
