/** Challenges and Retry-After, as pure functions. */
import { test } from "node:test";
import { parseChallenges, tokenChallenge } from "../../src/protocol/challenge.ts";
import { retryAfterSeconds } from "../../src/protocol/retry-after.ts";
import { assert } from "../support/assert.ts";

const cases: readonly (readonly [string | null, unknown])[] = [
  [null, []],
  ["", []],
  ["Bearer", [["bearer", {}]]],
  ['Bearer error="invalid_token"', [["bearer", { error: "invalid_token" }]]],
  ['bearer realm="a, b", Error="x"', [["bearer", { realm: "a, b", error: "x" }]]],
  ['Bearer realm="say \\"hi\\"", error=invalid_token', [["bearer", { realm: 'say "hi"', error: "invalid_token" }]]],
  ['Basic realm="x", Bearer error="invalid_token", DPoP algs="ES256"', [["basic", { realm: "x" }], ["bearer", { error: "invalid_token" }], ["dpop", { algs: "ES256" }]]],
  ["Negotiate abc==, Bearer", [["negotiate", { abc: "=" }], ["bearer", {}]]],
  ["Negotiate, Bearer", [["negotiate", {}], ["bearer", {}]]],
  [" , ,Bearer  realm = x ,, error = y", [["bearer", { realm: "x", error: "y" }]]],
  ['Bearer error="unclosed', [["bearer", {}], ["error", {}]]],
  ['Bearer max_age="5", acr_values="a b"', [["bearer", { max_age: "5", acr_values: "a b" }]]],
];

for (const [header, expected] of cases) {
  test(`the challenge ${JSON.stringify(header)} is read as RFC 9110 writes it`, () => {
    assert.deepEqual(expected, parseChallenges(header).map(({ scheme, parameters }) => [scheme, { ...parameters }]));
  });
}

test("of several challenges the one that names an error of our kind of token counts", () => {
  const header = 'Basic error="no", DPoP algs="ES256", Bearer error="insufficient_scope"';

  assert.equal("insufficient_scope", tokenChallenge(header)!.parameters["error"]);
});

test("a long header of nonsense is read in linear time and decides nothing", () => {
  assert.equal(undefined, tokenChallenge('="'.repeat(50_000)));
});

const NOW = Date.parse("Mon, 23 Nov 2026 12:00:00 GMT");
const waits: readonly (readonly [Record<string, string>, number | undefined])[] = [
  [{}, undefined],
  [{ "Retry-After": "0" }, 0],
  [{ "Retry-After": "120" }, 120],
  [{ "Retry-After": "3600" }, 3600],
  [{ "Retry-After": "3601" }, 3600],
  [{ "Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT" }, 60],
  [{ "Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT", Date: "Mon, 23 Nov 2026 12:00:30 GMT" }, 30],
  [{ "Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT" }, 0],
  [{ "Retry-After": "soon" }, undefined],
  [{ "Retry-After": "-5" }, undefined],
];

for (const [headers, expected] of waits) {
  test(`[26] ${JSON.stringify(headers)} asks for ${expected} seconds`, () => {
    assert.equal(expected, retryAfterSeconds(new Headers(headers), NOW));
  });
}
