/** The bindings: React, axios, and the fetch wrapper. */
import type { Page } from "playwright-core";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { ready, type World } from "../support/world.ts";

inBrowser();

async function withBindings(page: Page): Promise<void> {
  await page.addScriptTag({ type: "module", url: "/bindings.js" });
  await page.waitForFunction(() => typeof window.renderReact === "function");
}

async function signedIn(world: World): Promise<Page> {
  const page = await world.signedIn();
  await withBindings(page);
  return page;
}

scenario("[3] React in StrictMode: a button signs in, the provider finishes it once, the hook renders each state", async (world) => {
  const page = await world.tab();
  await world.session(page);
  await withBindings(page);
  await page.evaluate(() => window.renderReact());
  await Promise.all([page.waitForURL(/callback/), page.click("#state")]);
  await ready(page);
  await world.session(page);
  await withBindings(page);
  await page.evaluate(() => window.renderReact());

  await page.waitForSelector("text=signed in");
  assert.equal(1, world.server.posts.length);
  assert.deepEqual([world.origin + "/orders"], await page.evaluate(() => window.returned));

  await page.evaluate(() => window.session.signOut());
  await page.waitForSelector("text=signed_out");
});

scenario("axios: a POST that meets an expired token is refreshed and repeated, with its body", async (world) => {
  const page = await signedIn(world);
  world.server.advance(301);

  const answer = await page.evaluate((url) => window.axiosPost(url, { item: 17 }), world.api.origin + "/orders");

  assert.equal("bob", (answer as { sub: string }).sub);
  assert.deepEqual([11, 11], world.api.calls.map((call) => call.bytes));
  assert.equal(1, world.server.refreshes().length);
});

scenario("the fetch wrapper: relative paths, JSON both ways, and an error with the problem in it", async (world) => {
  const page = await signedIn(world);
  world.api.always401.add("/v1/broken");

  const results = await page.evaluate(async (base) => {
    const api = window.api(window.session, base);
    const answer = await api<{ sub: string }>("orders", { json: { item: 17 } });
    const error = await api("broken").catch((caught: { name: string; problem: { call: number } }) => [caught.name, typeof caught.problem.call]);
    return [answer.sub, error];
  }, world.api.origin + "/v1/");

  assert.deepEqual(["bob", ["HttpError", "number"]], results);
  assert.equal("application/json", world.api.calls[0]!.headers["content-type"]);
  assert.equal(11, world.api.calls[0]!.bytes);
});
