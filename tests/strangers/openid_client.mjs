// openid-client: the relying party most Node applications use.
import * as client from "openid-client";
import { call, given, heard, refusal, report, visited } from "./talk.mjs";

const config = await client.discovery(
  new URL(given.issuer),
  given.client_id,
  undefined,
  given.secret ? client[given.method ?? "ClientSecretBasic"](given.secret) : client.None(),
  { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] },
);

async function signIn(extra = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const expectedState = client.randomState();
  const expectedNonce = client.randomNonce();
  const parameters = {
    redirect_uri: given.redirect_uri,
    scope: "openid profile email offline_access orders:read",
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
    state: expectedState,
    nonce: expectedNonce,
    ...extra,
  };
  const url = given.par
    ? await client.buildAuthorizationUrlWithPAR(config, parameters)
    : client.buildAuthorizationUrl(config, parameters);
  const callback = await visited(url);
  if (given.tamper) callback.searchParams.set(given.tamper, "https://attacker.example");
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
  return client.authorizationCodeGrant(config, callback, checks);
}

if (given.law === "refuses") {
  report({ refused: await refusal(signIn) });
  process.exit(0);
}

const tokens = await signIn(given.prompt ? { prompt: given.prompt } : {});
const claims = tokens.claims();
report({ claims });
report({ userinfo: await client.fetchUserInfo(config, tokens.access_token, claims.sub) });
report({ api: await call(given.api, tokens.access_token) });
const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
report({ refreshed: refreshed.access_token !== tokens.access_token });
report({ api: await call(given.api, refreshed.access_token) });
if (given.law === "leaves") {
  const end = client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: given.post_logout_redirect_uri,
    state: "left",
  });
  report({ left: (await visited(end)).href });
} else {
  report({ waiting: true });
  await heard();
}
const again = refreshed.refresh_token ?? tokens.refresh_token;
report({ refused: await refusal(() => client.refreshTokenGrant(config, again)) });
report({ api: await call(given.api, refreshed.access_token) });
process.exit(0);
