/** The authorization request and its answer: code grant, PKCE S256 always (RFC 6749 §4.1, RFC 7636, RFC 9207). */
import { sha256Text } from "./base64url.ts";
import type { ServerMetadata } from "./metadata.ts";

export interface AuthorizationParameters {
  readonly clientId: string;
  /** Without one the code comes another way. */
  readonly redirectUri?: string | undefined;
  readonly state?: string | undefined;
  readonly codeVerifier: string;
  readonly scope?: string | undefined;
  readonly nonce?: string | undefined;
  readonly resources?: readonly string[] | undefined;
  /** JWK thumbprint of the DPoP key (RFC 9449 §10). */
  readonly dpopJkt?: string | undefined;
  readonly prompt?: string | undefined;
  readonly loginHint?: string | undefined;
  readonly acrValues?: string | undefined;
  /** Seconds since the last sign-in that are still good enough. */
  readonly maxAge?: number | string | undefined;
}

/** The request as parameters. There is no way to leave PKCE out, and none to choose `plain`. */
export async function authorizationFields(parameters: AuthorizationParameters): Promise<[string, string][]> {
  const fields: Record<string, string | number | undefined> = {
    response_type: "code",
    client_id: parameters.clientId,
    redirect_uri: parameters.redirectUri,
    state: parameters.state,
    code_challenge: await sha256Text(parameters.codeVerifier),
    code_challenge_method: "S256",
    scope: parameters.scope,
    nonce: parameters.nonce,
    dpop_jkt: parameters.dpopJkt,
    prompt: parameters.prompt,
    login_hint: parameters.loginHint,
    acr_values: parameters.acrValues,
    max_age: parameters.maxAge,
  };
  const said = Object.entries(fields).flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, String(value)]]));
  return [...said, ...(parameters.resources ?? []).map((resource): [string, string] => ["resource", resource])];
}

/** The address to send the browser to. */
export async function authorizationUrl(metadata: ServerMetadata, parameters: AuthorizationParameters): Promise<string> {
  const url = new URL(metadata.authorization_endpoint);
  for (const [name, value] of await authorizationFields(parameters)) url.searchParams.append(name, value);
  return url.href;
}

/** A code, or why there is none. */
export type AuthorizationOutcome =
  | { readonly kind: "code"; readonly code: string }
  | { readonly kind: "issuer_mismatch" }
  | { readonly kind: "authorization_refused"; readonly error: string };

/**
 * Validate a callback whose `state` was found among our own attempts.
 *
 * A wrong `iss` is refused before anything else: the answer may come from another server (RFC 9207 §2.4).
 */
export function processAuthorizationResponse(metadata: ServerMetadata, { searchParams: query }: URL): AuthorizationOutcome {
  const iss = query.get("iss");
  if (iss === null ? metadata.authorization_response_iss_parameter_supported : iss !== metadata.issuer) return { kind: "issuer_mismatch" };
  const error = query.get("error");
  if (error !== null) return { kind: "authorization_refused", error: error.slice(0, 60) };
  return { kind: "code", code: query.get("code") ?? "" };
}
