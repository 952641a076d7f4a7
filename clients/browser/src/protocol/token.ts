/** The token endpoint: request and answer for the code and the refresh grant (RFC 6749 §4.1.3, §6; design §3.2). */
import { retryAfterSeconds } from "./retry-after.ts";
import type { ServerMetadata } from "./metadata.ts";

export interface Grant {
  readonly accessToken: string;
  readonly tokenType: string;
  /** Seconds; absent when the server does not say. */
  readonly expiresIn?: number | undefined;
  /** Absent: the one we have stays good. */
  readonly refreshToken?: string | undefined;
  /** Seconds until a proactive refresh is welcome. */
  readonly refreshAfter?: number | undefined;
  readonly refreshTokenExpiresIn?: number | undefined;
  readonly sessionExpiresIn?: number | undefined;
  readonly scope?: string | undefined;
  readonly idToken?: string | undefined;
}

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

function formPost(url: string, fields: Record<string, string>): Request {
  // `redirect: "error"`: a captive portal redirects, a token endpoint never does; and a token must not follow.
  return new Request(url, { method: "POST", body: new URLSearchParams(fields), credentials: "omit", redirect: "error", cache: "no-store" });
}

export function codeRequest(
  metadata: ServerMetadata,
  fields: { readonly clientId: string; readonly redirectUri: string; readonly code: string; readonly codeVerifier: string },
): Request {
  return formPost(metadata.token_endpoint, {
    grant_type: "authorization_code",
    client_id: fields.clientId,
    redirect_uri: fields.redirectUri,
    code: fields.code,
    code_verifier: fields.codeVerifier,
  });
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

const REASONS: readonly string[] = ["expired", "revoked", "reused", "superseded"];

function seconds(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? value : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/**
 * Sort the answer of the token endpoint. `nowMs` is the wall clock, for a `Retry-After` that is a date.
 *
 * Does not check: the access token itself; it is opaque to a client (RFC 6749 §1.4).
 */
export async function processTokenResponse(response: Response, nowMs: number): Promise<TokenOutcome> {
  const retryAfter = retryAfterSeconds(response.headers, nowMs);
  if (response.status === 429) return { kind: "unavailable", reason: "rate_limited", retryAfter };
  if (response.status >= 500) return { kind: "unavailable", reason: "server_error", retryAfter };
  const answer = (await response.json().catch(() => null)) as Record<string, unknown> | null;
  const bad = { kind: "unavailable", reason: "bad_answer", retryAfter } as const;
  if (!answer) return bad;
  if (!response.ok) {
    const { error } = answer;
    if (error === "invalid_grant") {
      const reason = answer["error_reason"];
      return { kind: "refused", reason: REASONS.includes(reason as string) ? (reason as RefusalReason) : error };
    }
    return text(error) ? { kind: "unavailable", reason: "client_refused", retryAfter } : bad;
  }
  const accessToken = text(answer["access_token"]);
  if (!accessToken) return bad;
  return {
    kind: "granted",
    grant: {
      accessToken,
      tokenType: text(answer["token_type"]) ?? "Bearer",
      expiresIn: seconds(answer["expires_in"]),
      refreshToken: text(answer["refresh_token"]),
      refreshAfter: seconds(answer["refresh_after"]),
      refreshTokenExpiresIn: seconds(answer["refresh_token_expires_in"]),
      sessionExpiresIn: seconds(answer["session_expires_in"]),
      scope: text(answer["scope"]),
      idToken: text(answer["id_token"]),
    },
  };
}

/** An exception of `fetch` as an outcome. */
export function unavailable(error: unknown, online: boolean): TokenOutcome {
  const { name, code } = error as { name?: string; code?: string };
  const reason =
    code === "discovery_failed" ? code : name === "TimeoutError" || name === "AbortError" ? "timeout" : online ? "network" : "offline";
  return { kind: "unavailable", reason };
}
