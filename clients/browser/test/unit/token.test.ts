/** The answer of the token endpoint, sorted; and the age of what it brought. */
import { test } from "node:test";
import { processTokenResponse, refreshRequest } from "../../src/protocol/token.ts";
import { ageOf, dueAfter, tokensFrom, usableFor } from "../../src/session/tokens.ts";
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

/** Run `body` with clocks that stand still until it moves them. */
function withClocks(body: (clocks: { wall: number; steady: number }) => void): void {
  const clocks = { wall: 1_000_000, steady: 500 };
  const { now } = Date;
  const performanceNow = performance.now;
  Date.now = () => clocks.wall;
  performance.now = () => clocks.steady;
  try {
    body(clocks);
  } finally {
    Date.now = now;
    performance.now = performanceNow;
  }
}

test("[19] the age is the larger of two clocks, and unknown age is old age", () =>
  withClocks((clocks) => {
    const tokens = tokensFrom({ access_token: "a", expires_in: 300 }, "id", clocks.wall);
    const age = ageOf(tokens);
    assert.equal(0, age());
    clocks.steady += 10_000;
    assert.equal(10, age());
    clocks.wall += 7_200_000;
    assert.equal(7200, age());
    clocks.wall -= 14_400_000;
    assert.equal(10, age());

    assert.equal(Infinity, ageOf(tokens)());
  }));

test("[19] `iat` and `exp` of the token are not looked at", () =>
  withClocks((clocks) => {
    const jwt = `x.${Buffer.from(JSON.stringify({ iat: -300, exp: -1, sub: "bob" })).toString("base64url")}.x`;
    const tokens = tokensFrom({ access_token: jwt, expires_in: 300 }, "id", clocks.wall);

    assert.equal("bob", tokens.sub);
    assert.equal(0, ageOf(tokens)());
  }));

test("[17] tabs of one login do not fire together: jitter spreads them between refresh_after and the end", () => {
  const grant = { access_token: "a", expires_in: 300, refresh_after: 200 };

  assert.equal(200, dueAfter(grant, 0));
  assert.equal(230, dueAfter(grant, 1));
  assert.ok(dueAfter(grant, 1) < usableFor(grant));
});

test("[20] a token shorter than any leeway is usable for nine tenths of its life, and never proactively refreshed", () => {
  assert.equal(0, usableFor({ access_token: "a", expires_in: 0 }));
  assert.equal(1.8, usableFor({ access_token: "a", expires_in: 2 }));
  assert.equal(295, usableFor({ access_token: "a", expires_in: 300 }));
  assert.equal(Infinity, dueAfter({ access_token: "a", expires_in: 8 }, 0));
  // Whatever the server says, not sooner than after ten seconds.
  assert.equal(10, dueAfter({ access_token: "a", expires_in: 300, refresh_after: 0 }, 0));
});

test("a token whose life the server does not tell is used until somebody refuses it", () => {
  assert.equal(Infinity, usableFor({ access_token: "a" }));
  assert.equal(Infinity, dueAfter({ access_token: "a" }, 0.5));
});
