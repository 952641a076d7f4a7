/** Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0). */
import { DiscoveryError } from "../errors.ts";

export interface ServerMetadata {
  readonly issuer: string;
  readonly authorization_endpoint: string;
  readonly token_endpoint: string;
  readonly revocation_endpoint?: string;
  readonly end_session_endpoint?: string;
  readonly authorization_response_iss_parameter_supported?: boolean;
}

export function discoveryRequest(issuer: string): Request {
  return new Request(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, { credentials: "omit" });
}

/**
 * Validate the document against the issuer it was asked from (RFC 8414 §3.3: identical, character by character).
 *
 * Does not check: that the endpoints lie on the issuer's origin; they need not.
 */
export async function processDiscoveryResponse(expectedIssuer: string, response: Response): Promise<ServerMetadata> {
  const document = response.ok ? ((await response.json().catch(() => null)) as ServerMetadata | null) : null;
  if (!document) throw new DiscoveryError(`no metadata at the issuer: HTTP ${response.status}`);
  if (document.issuer !== expectedIssuer) throw new DiscoveryError("the metadata names another issuer");
  for (const name of ["authorization_endpoint", "token_endpoint"] as const) {
    if (!URL.canParse(document[name])) throw new DiscoveryError(`the metadata has no ${name}`);
  }
  return document;
}
