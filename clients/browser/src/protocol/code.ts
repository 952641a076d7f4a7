/** The code grant (RFC 6749 §4.1.3, RFC 7636 §4.5); `processTokenResponse` reads its answer. */
import type { ServerMetadata } from "./metadata.ts";
import { formPost } from "./token.ts";

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
