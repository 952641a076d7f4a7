/** Behaviours 10 to 12: who gets the token. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";

inBrowser();

scenario("[10] a foreign absolute address gets no token, and its answer comes back untouched", async (world) => {
  const page = await world.signedIn();

  const status = await page.evaluate((url) => window.call(url), world.stranger.origin + "/orders");

  assert.equal(401, status);
  assert.deepEqual([undefined], world.stranger.calls.map((call) => call.authorization));
  assert.equal(0, world.server.refreshes().length);
});

scenario("[10] an allowed origin is compared as an origin, not as the beginning of a text", async (world) => {
  // `http://127.0.0.1:80` is a prefix of `http://127.0.0.1:8012`, as `https://api.x` is of `https://api.x.evil.tld`.
  const page = await world.signedIn({ allowedOrigins: [world.api.origin.slice(0, -1)] });

  await world.call(page, "/orders");

  assert.deepEqual([undefined], world.api.calls.map((call) => call.authorization));
});

scenario("[10] without a setting only the origin of the page gets the token", async (world) => {
  const page = await world.tab();
  await world.session(page);
  await world.signIn(page, { allowedOrigins: undefined });
  const own = page.waitForRequest((request) => request.url() === world.origin + "/here");

  await page.evaluate(() => window.call("/here"));
  await world.call(page, "/orders");

  assert.match(/^Bearer /, (await (await own).allHeaders())["authorization"]!);
  assert.deepEqual([undefined], world.api.calls.map((call) => call.authorization));
});

scenario("[11] an Authorization header the caller set is never overwritten", async (world) => {
  const page = await world.signedIn();

  const status = await world.call(page, "/orders", { headers: { Authorization: "Bearer mine" } });

  assert.equal(401, status);
  assert.deepEqual(["Bearer mine"], world.api.calls.map((call) => call.authorization));
  assert.equal(0, world.server.refreshes().length);
});

scenario("[12] a redirect to another origin carries no token", async (world) => {
  const page = await world.signedIn();
  world.api.redirects.set("/moved", world.stranger.origin + "/open");

  const status = await world.call(page, "/moved");

  assert.equal(200, status);
  assert.match(/^Bearer /, world.api.calls[0]!.authorization!);
  assert.deepEqual([undefined], world.stranger.calls.map((call) => call.authorization));
});
