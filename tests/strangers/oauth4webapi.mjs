// oauth4webapi: the protocol without a framework, as a public client with a DPoP key.
import * as oauth from "oauth4webapi";
import { given, heard, refusal, report, visited } from "./talk.mjs";

const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(given.issuer);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
const client = { client_id: given.client_id };
const none = oauth.None();
const DPoP = given.dpop ? oauth.DPoP(client, await oauth.generateKeyPair("ES256")) : undefined;

/** Ask once more with the nonce of the refusal (RFC 9449 §8). */
async function withNonce(ask, process) {
  try {
    return await process(await ask());
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return process(await ask());
  }
}

async function signIn() {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const nonce = oauth.generateRandomNonce();
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: given.redirect_uri,
    response_type: "code",
    scope: "openid orders:read",
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    nonce,
  });
  const callback = await visited(url);
  if (given.tamper) callback.searchParams.set(given.tamper, "https://attacker.example");
  const parameters = oauth.validateAuthResponse(as, client, callback, state);
  return withNonce(
    () =>
      oauth.authorizationCodeGrantRequest(as, client, none, parameters, given.redirect_uri, verifier, {
        ...insecure,
        DPoP,
      }),
    async (response) => {
      const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, {
        expectedNonce: nonce,
        requireIdToken: true,
      });
      // The signature is not checked unless asked for (OpenID Connect Core §3.1.3.7, 6).
      await oauth.validateApplicationLevelSignature(as, response, insecure);
      return tokens;
    },
  );
}

function refresh(token) {
  return withNonce(
    () => oauth.refreshTokenGrantRequest(as, client, none, token, { ...insecure, DPoP }),
    (response) => oauth.processRefreshTokenResponse(as, client, response),
  );
}

async function call(token) {
  const ask = () =>
    oauth.protectedResourceRequest(token, "GET", new URL(given.api), new Headers(), null, { ...insecure, DPoP });
  try {
    return (await withNonce(ask, async (response) => response)).status;
  } catch (error) {
    return error.status;
  }
}

if (given.law === "refuses") {
  report({ refused: await refusal(signIn) });
  process.exit(0);
}

const tokens = await signIn();
report({ token_type: tokens.token_type });
report({ claims: oauth.getValidatedIdTokenClaims(tokens) });
report({ api: await call(tokens.access_token) });
const refreshed = await refresh(tokens.refresh_token);
report({ refreshed: refreshed.access_token !== tokens.access_token });
report({ api: await call(refreshed.access_token) });
report({ waiting: true });
await heard();
report({ refused: await refusal(() => refresh(refreshed.refresh_token ?? tokens.refresh_token)) });
report({ api: await call(refreshed.access_token) });
process.exit(0);
