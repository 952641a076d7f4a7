/** The code grant (RFC 6749 §4.1.3, RFC 7636 §4.5); `processTokenResponse` reads its answer. */
import type { ServerMetadata } from "./metadata.ts";
import { formPost } from "./token.ts";

export interface CodeFields {
  readonly clientId: string;
  /** Of the authorization request; undefined where that had none. */
  readonly redirectUri?: string | undefined;
  readonly code: string;
  readonly codeVerifier: string;
}

export function codeRequest(metadata: ServerMetadata, { clientId, redirectUri, code, codeVerifier }: CodeFields): Request {
  return formPost(metadata.token_endpoint, {
    grant_type: "authorization_code",
    client_id: clientId,
    ...(redirectUri === undefined ? {} : { redirect_uri: redirectUri }),
    code,
    code_verifier: codeVerifier,
  });
}
