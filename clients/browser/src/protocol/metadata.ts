/** Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0). */
import { PorteroError } from "../errors.ts";

export interface ServerMetadata {
  readonly issuer: string;
  readonly authorization_endpoint: string;
  readonly token_endpoint: string;
  readonly revocation_endpoint?: string;
  readonly end_session_endpoint?: string;
  readonly authorization_challenge_endpoint?: string;
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
  if (document?.issuer !== expectedIssuer || !URL.canParse(document.authorization_endpoint) || !URL.canParse(document.token_endpoint)) {
    throw new PorteroError("discovery_failed", document ? "another issuer" : `HTTP ${response.status}`);
  }
  return document;
}
