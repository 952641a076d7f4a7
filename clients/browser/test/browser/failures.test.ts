/** Behaviours 25 to 31: what a failed refresh means, and what a lost answer does not. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { eventually, gate, type World } from "../support/world.ts";
import type { Fault } from "../support/authorization-server.ts";

inBrowser();

const html = "<html>Bad gateway</html>";
const passing: readonly (readonly [string, Fault, string])[] = [
  ["a lost connection", { kind: "drop" }, "network"],
  ["a 500", { kind: "answer", status: 500, body: "{}" }, "server_error"],
  ["an HTML 502", { kind: "answer", status: 502, body: html }, "server_error"],
  ["a 503", { kind: "answer", status: 503, body: '{"error":"temporarily_unavailable"}' }, "server_error"],
  ["a 429", { kind: "answer", status: 429, body: '{"error":"slow_down"}' }, "rate_limited"],
  ["a 200 of HTML (a captive portal)", { kind: "answer", status: 200, body: html }, "bad_answer"],
  ["a redirect (a captive portal)", { kind: "answer", status: 302, headers: { Location: "/login" }, body: "" }, "network"],
  ["a 200 without a token", { kind: "answer", status: 200, body: "{}" }, "bad_answer"],
  ["a 200 of broken JSON", { kind: "answer", status: 200, body: '{"access_token":"a' }, "bad_answer"],
  ["a 400 of HTML", { kind: "answer", status: 400, body: html }, "bad_answer"],
  ["invalid_client", { kind: "answer", status: 401, body: '{"error":"invalid_client"}' }, "client_refused"],
  ["invalid_request", { kind: "answer", status: 400, body: '{"error":"invalid_request"}' }, "client_refused"],
  ["a lost answer", { kind: "lose" }, "network"],
];

for (const [name, fault, reason] of passing) {
  scenario(`[25] ${name} keeps the session, and the next refresh sends the same attempt`, async (world) => {
    const page = await world.signedIn({ autoSignIn: false });
    world.server.advance(301);
    world.server.faults.push(fault);

    assert.equal("refresh_unavailable", await world.call(page, "/orders"));
    assert.equal("waiting", await world.state(page));
    const failed = await page.evaluate(() => window.events.findLast((event) => event.type === "transition"));
    assert.equal(reason, failed!.reason);
    await world.shift(page, { steady: 5 });
    assert.equal(200, await world.call(page, "/orders"));
    const [first, second] = world.server.refreshes();
    assert.equal(first!.refreshToken, second!.refreshToken);
    assert.equal(first!.attempt, second!.attempt);
  });
}

for (const reason of ["expired", "revoked", "reused"]) {
  scenario(`[25] invalid_grant (${reason}) ends the session with that reason`, async (world) => {
    const page = await world.signedIn({ autoSignIn: false });
    world.server.advance(301);
    world.server.end("sid-bob", reason);

    assert.equal("sign_in_required", await world.call(page, "/orders"));
    assert.equal("signed_out", await world.state(page));
    assert.equal(reason, await page.evaluate(() => window.events.findLast((event) => event.type === "transition")!.reason));
    assert.equal(null, await page.evaluate(() => window.session.getTokenInfo()));
  });
}

scenario("[25] offline keeps the session, and says so", async (world) => {
  const page = await world.signedIn({});
  await world.shift(page, { steady: 301 });
  world.server.advance(301);
  await world.context.setOffline(true);

  assert.equal("refresh_unavailable", await world.call(page, "/orders"));
  assert.ok((await world.history(page)).includes("refresh_failed"));
  assert.equal("offline", await page.evaluate(() => window.events.findLast((event) => event.type === "transition")!.reason));
  await world.context.setOffline(false);
  await world.reaches(page, "signed_in");
  assert.equal(200, await world.call(page, "/orders"));
});

for (const status of [429, 503]) {
  scenario(`[26] Retry-After of a ${status} is honoured to the second: no request before, one after`, async (world) => {
    const page = await world.signedIn({});
    world.server.advance(301);
    world.server.faults.push({ kind: "answer", status, headers: { "Retry-After": "100" }, body: "{}" });
    await world.freeze(page);
    assert.equal("refresh_unavailable", await world.call(page, "/orders"));

    await world.shift(page, { steady: 98 });
    for (const type of ["online", "visibilitychange", "pageshow"] as const) await world.happens(page, type);
    assert.equal("refresh_unavailable", await world.call(page, "/orders"));
    assert.equal(1, world.server.refreshes().length);
    await world.shift(page, { steady: 101 });
    assert.equal(200, await world.call(page, "/orders"));
    assert.equal(2, world.server.refreshes().length);
  });
}

for (const type of ["online", "visibilitychange", "pageshow"] as const) {
  scenario(`[27] ${type} ends the back-off`, async (world) => {
    const page = await world.signedIn({});
    world.server.advance(301);
    for (const _ of [1, 2, 3, 4]) world.server.faults.push({ kind: "drop" });
    for (const _ of [1, 2, 3, 4]) await world.call(page, "/orders");
    await world.reaches(page, "waiting");

    await world.happens(page, type);

    await world.reaches(page, "signed_in");
    assert.equal("granted", world.server.refreshes().at(-1)!.outcome);
  });
}

scenario("[27] the back-off grows, is jittered, and goes on by itself", async (world) => {
  const page = await world.signedIn({});
  world.server.advance(301);
  world.server.faults.push({ kind: "drop" }, { kind: "drop" });
  await world.call(page, "/orders");

  await eventually(() => world.server.refreshes().length >= 3, "two more tries");
  await world.reaches(page, "signed_in");
});

scenario("[28] a proactive refresh that fails keeps serving with the token that is still good", async (world) => {
  const page = await world.signedIn({});
  world.server.faults.push({ kind: "answer", status: 503, headers: { "Retry-After": "100" }, body: "" });
  await world.shift(page, { steady: 290 });
  await world.happens(page, "visibilitychange");
  await world.reaches(page, "waiting");

  assert.equal(200, await world.call(page, "/orders"));
  assert.equal(200, await world.call(page, "/orders"));
  assert.equal(1, world.server.refreshes().length);
});

/** Two tabs with one stored session; the refresh of the second hangs while the first rotates twice. */
async function overtaken(world: World) {
  const config = { storage: "local", limits: { lock: 100, superseded: 50 }, autoSignIn: false };
  const first = await world.signedIn(config);
  const second = await world.tab();
  await world.session(second, config);
  world.server.advance(301);
  const slow = gate();
  world.server.faults.push({ kind: "hang", until: slow.promise, commit: false });
  const answer = world.call(second, "/orders");
  await eventually(() => world.server.refreshes().length === 1, "the refresh that hangs");
  await first.evaluate(() => window.session.refresh());
  await first.evaluate(() => window.session.refresh());
  slow.open();
  return { first, second, answer };
}

scenario("[29] refused, a tab first looks whether another has rotated, and takes that over", async (world) => {
  const { second, answer } = await overtaken(world);

  assert.equal(200, await answer);
  assert.deepEqual(["superseded", "granted", "granted"], world.server.refreshes().map((post) => post.outcome).sort().reverse());
  assert.equal("signed_in", await world.state(second));
  assert.ok((await world.history(second)).includes("refresh.adopted"));
  assert.equal(null, world.server.families[0]!.ended);
});

scenario("[30] an answer that was lost after the commit: the same successor comes, nobody is signed out", async (world) => {
  const page = await world.signedIn({});
  for (let round = 0; round < 5; round++) {
    world.server.advance(301);
    world.server.faults.push({ kind: "lose" });
    assert.equal("refresh_unavailable", await world.call(page, "/orders"));
    assert.equal(200, await world.call(page, "/orders"));
  }

  assert.equal(null, world.server.families[0]!.ended);
  assert.equal(10, world.server.refreshes().length);
  // One sign-in and five successors: a lost answer makes no second one.
  assert.equal(6, world.server.refreshTokens.size);
});

scenario("[30] a browser that sends the POST again by itself does no harm: it is the same attempt", async (world) => {
  world.server.keepAlive = true;
  const page = await world.signedIn();
  world.server.advance(301);
  world.server.faults.push({ kind: "lose" });

  assert.equal(200, await world.call(page, "/orders"));
  assert.deepEqual(["granted, lost", "granted"], world.server.refreshes().map((post) => post.outcome));
  assert.equal(null, world.server.families[0]!.ended);
});

scenario("[30] superseded, and nothing new in the store: wait out the window, ask once more, then sign in", async (world) => {
  const page = await world.signedIn({ autoSignIn: false, limits: { superseded: 50 } });
  world.server.advance(301);
  for (const _ of [1, 2]) {
    world.server.faults.push({ kind: "answer", status: 400, body: '{"error":"invalid_grant","error_reason":"superseded"}' });
  }

  assert.equal("sign_in_required", await world.call(page, "/orders"));
  const [first, second] = world.server.refreshes();
  assert.equal(2, world.server.refreshes().length);
  assert.equal(first!.refreshToken, second!.refreshToken);
  // Decision 0021: the last try must not be proven, or a thief who won the race stays hidden.
  assert.notEqual(first!.attempt, second!.attempt);
  assert.ok((await world.history(page)).includes("refresh.waits"));
  assert.equal("superseded", await page.evaluate(() => window.events.findLast((event) => event.type === "transition")!.reason));
});

scenario("[30] superseded once, and then granted: nobody noticed", async (world) => {
  const page = await world.signedIn({ limits: { superseded: 50 } });
  world.server.advance(301);
  world.server.faults.push({ kind: "answer", status: 400, body: '{"error":"invalid_grant","error_reason":"superseded"}' });

  assert.equal(200, await world.call(page, "/orders"));
});

scenario("[30] a thief who used the successor is exposed by the last try: the session ends for both", async (world) => {
  const page = await world.signedIn({ autoSignIn: false, limits: { superseded: 50 } });
  world.server.advance(301);
  world.server.faults.push({ kind: "lose" });
  assert.equal("refresh_unavailable", await world.call(page, "/orders"));
  // The thief read the lost answer.
  const successor = [...world.server.refreshTokens.keys()].at(-1)!;
  const answer = await fetch(world.server.issuer + "/token", {
    method: "POST",
    body: new URLSearchParams({ grant_type: "refresh_token", refresh_token: successor, refresh_attempt: "T".repeat(22) }),
  });
  assert.equal(200, answer.status);

  assert.equal("sign_in_required", await world.call(page, "/orders"));
  assert.equal("reused", world.server.families[0]!.ended);
});

scenario("[31] whatever fails, one refresh token never goes out with two attempts", async (world) => {
  const page = await world.signedIn({});
  world.server.advance(301);
  const faults: Fault[] = [{ kind: "lose" }, { kind: "drop" }, { kind: "answer", status: 500, body: "" }, { kind: "lose" }];
  world.server.faults.push(...faults);
  for (let round = 1; round <= 5; round++) {
    await world.shift(page, { steady: round * 100 });
    await world.call(page, "/orders");
  }

  // `checkLaws` compares the attempts of every test; here they are known to be five.
  const posts = world.server.refreshes().slice(0, 5);
  assert.equal(1, new Set(posts.map((post) => post.attempt)).size);
  assert.equal(1, new Set(posts.map((post) => post.refreshToken)).size);
});
