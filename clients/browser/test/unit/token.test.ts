/** The answer of the token endpoint, sorted; and the age of what it brought. */
import { test } from "node:test";
import { processTokenResponse, refreshRequest } from "../../src/protocol/token.ts";
import { Age, dueAfter, tokensFrom, usableFor } from "../../src/session/tokens.ts";
import { assert } from "../support/assert.ts";

const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  processTokenResponse(new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }), 0);

test("[25] of all answers only invalid_grant says that the refresh token is no longer good", async () => {
  for (const error of ["invalid_request", "invalid_client", "unauthorized_client", "invalid_scope", "server_error", "temporarily_unavailable", "slow_down"]) {
    for (const status of [400, 401, 403]) {
      const outcome = await answer(status, { error });
      assert.deepEqual(["unavailable", "client_refused"], [outcome.kind, outcome.kind === "unavailable" && outcome.reason]);
    }
  }
  assert.deepEqual({ kind: "refused", reason: "invalid_grant" }, await answer(400, { error: "invalid_grant" }));
});

test("[25] invalid_grant inside a 5xx or a 429 is the answer of something in between, and ends nothing", async () => {
  for (const status of [429, 500, 502, 503]) assert.equal("unavailable", (await answer(status, { error: "invalid_grant" })).kind);
});

for (const reason of ["expired", "revoked", "reused", "superseded"]) {
  test(`the reason ${reason} is passed on`, async () => {
    assert.deepEqual({ kind: "refused", reason }, await answer(400, { error: "invalid_grant", error_reason: reason }));
  });
}

test("a reason nobody registered is no reason", async () => {
  assert.deepEqual({ kind: "refused", reason: "invalid_grant" }, await answer(400, { error: "invalid_grant", error_reason: "<b>" }));
});

test("JSON that is no object is a bad answer", async () => {
  for (const body of ["[]", "null", "1", '"x"', "{"]) assert.equal("unavailable", (await answer(200, body)).kind, body);
});

test("the refresh request carries the attempt, no cookie, and follows no redirect", async () => {
  const metadata = { issuer: "https://as", authorization_endpoint: "https://as/a", token_endpoint: "https://as/token" };
  const request = refreshRequest(metadata, { clientId: "shop", refreshToken: "prt1.x", refreshAttempt: "A".repeat(22) });

  assert.deepEqual(["POST", "https://as/token", "omit", "error"], [request.method, request.url, request.credentials, request.redirect]);
  assert.equal(`grant_type=refresh_token&client_id=shop&refresh_token=prt1.x&refresh_attempt=${"A".repeat(22)}`, await request.text());
});

test("[19] the age is the larger of two clocks, and unknown age is old age", () => {
  const clock = { now: 1_000_000, mono: 500, wall: () => clock.now, steady: () => clock.mono };
  const tokens = tokensFrom({ accessToken: "a", tokenType: "Bearer", expiresIn: 300 }, "id", clock.now);
  const age = new Age(clock, tokens);
  assert.equal(0, age.seconds());
  clock.mono += 10_000;
  assert.equal(10, age.seconds());
  clock.now += 7_200_000;
  assert.equal(7200, age.seconds());
  clock.now -= 14_400_000;
  assert.equal(10, age.seconds());

  assert.equal(Infinity, new Age(clock, tokens).seconds());
});

test("[19] `iat` and `exp` of the token are not looked at", () => {
  const clock = { wall: () => 0, steady: () => 0 };
  const jwt = `x.${Buffer.from(JSON.stringify({ iat: -300, exp: -1, sub: "bob" })).toString("base64url")}.x`;
  const tokens = tokensFrom({ accessToken: jwt, tokenType: "Bearer", expiresIn: 300 }, "id", 0);

  assert.equal("bob", tokens.subject);
  assert.equal(0, new Age(clock, tokens).seconds());
});

test("[17] tabs of one login do not fire together: jitter spreads them between refresh_after and the end", () => {
  const grant = { accessToken: "a", tokenType: "Bearer", expiresIn: 300, refreshAfter: 200 };

  assert.equal(200, dueAfter(grant, 0));
  assert.equal(230, dueAfter(grant, 1));
  assert.ok(dueAfter(grant, 1) < usableFor(grant));
});

test("[20] a token shorter than any leeway is usable for nine tenths of its life, and never proactively refreshed", () => {
  assert.equal(0, usableFor({ accessToken: "a", tokenType: "Bearer", expiresIn: 0 }));
  assert.equal(1.8, usableFor({ accessToken: "a", tokenType: "Bearer", expiresIn: 2 }));
  assert.equal(295, usableFor({ accessToken: "a", tokenType: "Bearer", expiresIn: 300 }));
  assert.equal(Infinity, dueAfter({ accessToken: "a", tokenType: "Bearer", expiresIn: 8 }, 0));
  // Whatever the server says, not sooner than after ten seconds.
  assert.equal(10, dueAfter({ accessToken: "a", tokenType: "Bearer", expiresIn: 300, refreshAfter: 0 }, 0));
});

test("a token whose life the server does not tell is used until somebody refuses it", () => {
  assert.equal(Infinity, usableFor({ accessToken: "a", tokenType: "Bearer" }));
  assert.equal(Infinity, dueAfter({ accessToken: "a", tokenType: "Bearer" }, 0.5));
});
