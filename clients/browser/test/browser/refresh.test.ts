/** Behaviours 13 to 24: when a refresh happens, and when not. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { eventually, gate } from "../support/world.ts";

inBrowser();

scenario("[13] a hundred calls that meet an expired token are one refresh and a hundred successes", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);

  const statuses = await page.evaluate((url) => Promise.all(Array.from({ length: 100 }, () => window.call(url))), world.api.origin + "/orders");

  assert.deepEqual(Array(100).fill(200), statuses);
  assert.equal(1, world.server.refreshes().length);
});

scenario("[13] a hundred calls that know the token is past its end are one refresh and not one 401", async (world) => {
  const page = await world.signedIn({});
  world.server.advance(301);
  await world.shift(page, { steady: 301 });

  const statuses = await page.evaluate((url) => Promise.all(Array.from({ length: 100 }, () => window.call(url))), world.api.origin + "/orders");

  assert.deepEqual(Array(100).fill(200), statuses);
  assert.equal(1, world.server.refreshes().length);
  assert.equal(100, world.api.calls.length);
});

scenario("[14] a 401 that arrives after another call has refreshed is retried without a refresh", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);
  const late = gate();
  world.api.holds.set("/late", late.promise);
  const answer = world.call(page, "/late");
  await eventually(() => world.api.on("/late").length === 1, "the late call at the API");

  assert.equal(200, await world.call(page, "/orders"));
  late.open();

  assert.equal(200, await answer);
  assert.equal(1, world.server.refreshes().length);
});

scenario("[15] refreshes that were asked for by hand share the flight", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);

  const status = await page.evaluate(async (url) => {
    const asked = Array.from({ length: 10 }, () => window.session.refresh());
    const call = window.call(url);
    await Promise.all(asked);
    return call;
  }, world.api.origin + "/orders");

  assert.equal(200, status);
  assert.equal(1, world.server.refreshes().length);
});

scenario("[16] two services are one refresh token, hence one refresh", async (world) => {
  const page = await world.signedIn({ allowedOrigins: [world.api.origin, world.stranger.origin], resources: [world.api.origin, world.stranger.origin] });
  world.server.advance(301);

  const statuses = await page.evaluate(
    (origins) => Promise.all(origins.flatMap((origin) => [window.call(origin + "/a"), window.call(origin + "/b")])),
    [world.api.origin, world.stranger.origin],
  );

  assert.deepEqual([200, 200, 200, 200], statuses);
  assert.equal(1, world.server.refreshes().length);
});

scenario("[17] a token is refreshed before its end, and the call that meets it then does not wait", async (world) => {
  const page = await world.signedIn({});
  const refreshed = gate();
  world.server.faults.push({ kind: "hang", until: refreshed.promise, commit: false });
  await world.shift(page, { steady: 290 });

  assert.equal(200, await world.call(page, "/orders"));
  await eventually(() => world.server.refreshes().length === 1, "a proactive refresh");
  refreshed.open();
  await world.reaches(page, "signed_in");
});

scenario("[18] after a sleep that only the wall clock saw, the first call refreshes before it sends", async (world) => {
  const page = await world.signedIn({});
  world.server.advance(3600);
  await world.shift(page, { wall: 3600 });

  assert.equal(200, await world.call(page, "/orders"));
  assert.deepEqual([200], world.api.calls.map((call) => call.status));
  assert.equal(1, world.server.refreshes().length);
});

scenario("[18] a token of thirty days arms no timer that overflows", async (world) => {
  world.server.accessLife = 30 * 86_400;
  const page = await world.tab("/");
  await page.addInitScript(() => {
    const original = window.setTimeout;
    (window as { delays?: number[] }).delays = [];
    window.setTimeout = ((handler: () => void, delay?: number) => {
      (window as { delays?: number[] }).delays!.push(delay ?? 0);
      return original(handler, delay);
    }) as typeof setTimeout;
  });
  await world.signIn(page);

  assert.equal(200, await world.call(page, "/orders"));
  const delays = await page.evaluate(() => (window as { delays?: number[] }).delays!);
  assert.ok(delays.length > 0 && delays.every((delay) => delay > 0 && delay <= 300_000), String(delays));
  assert.equal(0, world.server.refreshes().length);
});

scenario("[18] a timer that woke up late finds out by the clock", async (world) => {
  const page = await world.signedIn({});
  await world.shift(page, { wall: 290 });

  await world.happens(page, "visibilitychange");

  await eventually(() => world.server.refreshes().length === 1, "a proactive refresh");
});

for (const hours of [2, -2]) {
  scenario(`[19] a wall clock that jumps by ${hours} hours causes one refresh at most, and no 401`, async (world) => {
    const page = await world.signedIn({});
    await world.shift(page, { wall: hours * 3600 });

    for (const _ of [1, 2, 3]) assert.equal(200, await world.call(page, "/orders"));
    assert.equal(hours > 0 ? 1 : 0, world.server.refreshes().length);
    await world.shift(page, { wall: 0 });
    for (const _ of [1, 2, 3]) assert.equal(200, await world.call(page, "/orders"));
    assert.ok(world.server.refreshes().length <= 1);
    assert.ok(world.api.calls.every((call) => call.status === 200));
  });

  scenario(`[19] a clock that is ${hours} hours off when a stored session is opened causes one refresh at most`, async (world) => {
    const page = await world.signedIn({ storage: "tab" });
    await world.visit(page);
    await world.shift(page, { wall: hours * 3600 });
    await world.session(page, { storage: "tab" });

    for (const _ of [1, 2, 3]) assert.equal(200, await world.call(page, "/orders"));
    assert.equal(1, world.server.refreshes().length);
  });
}

scenario("[19] the time claims of the token are not looked at: the server's clock may be five minutes behind", async (world) => {
  world.server.advance(-300);
  const page = await world.signedIn();

  assert.equal(200, await world.call(page, "/orders"));
  assert.equal(0, world.server.refreshes().length);
});

for (const life of [0, 1, 4]) {
  scenario(`[20] a token that lives ${life} s is no loop: at most one refresh for each call`, async (world) => {
    world.server.expiresInWire = life;
    const page = await world.signedIn({});

    for (const _ of [1, 2, 3]) assert.equal(200, await world.call(page, "/orders"));
    assert.ok(world.server.refreshes().length <= 3, String(world.server.refreshes().length));
    assert.equal(3, world.api.calls.length);
  });
}

scenario("[21] a refresh that hangs frees every caller at the time limit", async (world) => {
  const page = await world.signedIn({ limits: { refresh: 200 } });
  world.server.advance(301);
  const never = gate();
  world.server.faults.push({ kind: "hang", until: never.promise, commit: true });

  const statuses = await page.evaluate((url) => Promise.all([1, 2, 3, 4, 5].map(() => window.call(url))), world.api.origin + "/orders");

  assert.deepEqual(Array(5).fill("refresh_unavailable"), statuses);
  assert.equal("waiting", await world.state(page));
  never.open();
});

scenario("[22] an abort ends the wait of that caller only; the shared refresh goes on", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);
  const slow = gate();
  world.server.faults.push({ kind: "hang", until: slow.promise, commit: true });
  const both = page.evaluate(async (url) => {
    const abort = new AbortController();
    (window as { abort?: AbortController }).abort = abort;
    return Promise.all([window.call(url, { signal: abort.signal }), window.call(url)]);
  }, world.api.origin + "/orders");
  await eventually(() => world.server.refreshes().length === 1, "the refresh at the server");

  await page.evaluate(() => (window as { abort?: AbortController }).abort!.abort());
  slow.open();

  const [first, second] = await both;
  assert.match(/AbortError/, String(first));
  assert.equal(200, second);
  assert.equal(1, world.server.refreshes().length);
});

scenario("[23] two refreshes that do not cure one address end the refreshing for it", async (world) => {
  const page = await world.signedIn();
  world.api.always401.add("/broken");

  for (const _ of [1, 2, 3, 4, 5]) assert.equal(401, await world.call(page, "/broken"));

  assert.equal(2, world.server.refreshes().length);
  assert.equal(2 + 2 + 3, world.api.on("/broken").length);
  assert.equal(200, await world.call(page, "/orders"));
});

scenario("[23] another token is another chance for it", async (world) => {
  const page = await world.signedIn();
  world.api.always401.add("/broken");
  for (const _ of [1, 2, 3]) await world.call(page, "/broken");
  await page.evaluate(() => window.session.refresh());
  world.api.always401.delete("/broken");

  assert.equal(200, await world.call(page, "/broken"));
});

for (const [challenge, refreshes] of [
  ['Bearer error="invalid_token"', 1],
  ["Bearer", 1],
  ['Bearer realm="x", Basic realm="y"', 1],
  [null, 1],
  ['Bearer error="insufficient_scope", scope="orders:write"', 0],
  ['Bearer error="invalid_request"', 0],
] as const) {
  scenario(`[24] a 401 with ${challenge ?? "no challenge"} means ${refreshes === 1 ? "one refresh" : "no refresh"}`, async (world) => {
    const page = await world.signedIn();
    world.api.always401.add("/here");
    world.api.challenges.set("/here", challenge);

    assert.equal(401, await world.call(page, "/here"));
    assert.equal(refreshes, world.server.refreshes().length);
  });
}
