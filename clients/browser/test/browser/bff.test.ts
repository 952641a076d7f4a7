/** Behaviours 45, 54 and 55, as far as the browser has a part in them: a session kept by a cookie. */
import type { Page } from "playwright-core";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { ready, type World } from "../support/world.ts";

inBrowser();

const BFF = { mode: "bff" };

async function signedIn(world: World, config: Record<string, unknown> = {}): Promise<Page> {
  const page = await world.tab("/orders");
  await world.session(page, { ...BFF, ...config });
  await Promise.all([page.waitForURL(/\/start/), page.evaluate(() => void window.session.signIn({ returnTo: "/start" }))]);
  await ready(page);
  await world.session(page, { ...BFF, ...config });
  await world.reaches(page, "signed_in");
  return page;
}

const call = (page: Page, init: { headers?: Record<string, string> } = {}) => page.evaluate((given) => window.call("/api/orders", given), init);

scenario("[54] every call carries the cookie and the custom header, and no script sees a token or the cookie", async (world) => {
  const page = await signedIn(world);

  assert.equal(200, await call(page));
  const { header, cookie, authorization } = world.bff.calls.at(-1)!;
  assert.deepEqual(["1", "s1", undefined], [header, cookie, authorization]);
  assert.equal("", await page.evaluate(() => document.cookie));
  assert.equal("bob", await page.evaluate(() => window.session.getTokenInfo()!.unverifiedClaims!["sub"]));
});

scenario("[54] fifty calls that meet a 401 are one sign-in, and it comes back to this page", async (world) => {
  const page = await signedIn(world);
  world.bff.sessions.clear();

  await Promise.all([
    page.waitForNavigation(),
    page.evaluate(() => void Array.from({ length: 50 }, () => window.call("/api/orders"))),
  ]);
  await ready(page);

  assert.equal(2, world.bff.signIns.length);
  assert.equal(world.origin + "/start", world.bff.signIns[1]!.get("return_to"));
  assert.equal(world.origin + "/start", page.url());
});

scenario("[8] the third automatic sign-in within a minute stops, here too", async (world) => {
  const page = await signedIn(world);
  for (const _ of [1, 2]) {
    world.bff.sessions.clear();
    await Promise.all([page.waitForNavigation(), page.evaluate(() => void window.call("/api/orders"))]);
    await ready(page);
    await world.session(page, BFF);
    await world.reaches(page, "signed_in");
  }
  world.bff.sessions.clear();

  assert.equal("login_loop", await call(page));
  assert.equal(3, world.bff.signIns.length);
});

for (const status of [429, 500, 502, 503]) {
  scenario(`[55] a ${status} changes nothing: the session and its cookie stay`, async (world) => {
    const page = await signedIn(world);
    world.bff.faults.push(status);

    assert.equal(status, await call(page));
    assert.equal("signed_in", await world.state(page));
    assert.equal(200, await call(page));
    assert.deepEqual(["session"], (await world.context.cookies()).map((cookie) => cookie.name));
  });
}

scenario("[23] [39] a service that refuses although the server has refreshed ends nothing: its answer comes back", async (world) => {
  const page = await signedIn(world);
  world.bff.challenge = 'Bearer error="invalid_token"';
  world.bff.faults.push(401);

  assert.equal(401, await call(page));
  assert.equal("signed_in", await world.state(page));
  assert.equal(1, world.bff.signIns.length);
});

scenario("a step-up leads to the sign-in page with what was asked for", async (world) => {
  const page = await signedIn(world);
  world.bff.challenge = 'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="300"';
  world.bff.faults.push(401);

  await Promise.all([page.waitForNavigation(), page.evaluate(() => void window.call("/api/orders"))]);

  const query = world.bff.signIns.at(-1)!;
  assert.deepEqual(["mfa", "300", world.origin + "/start"], [query.get("acr_values"), query.get("max_age"), query.get("return_to")]);
});

scenario("a call with a bearer token of its own goes without the cookie: never two credentials in one request", async (world) => {
  const page = await signedIn(world);

  await call(page, { headers: { Authorization: "Bearer mine" } });

  const { cookie, authorization } = world.bff.calls.at(-1)!;
  assert.deepEqual([undefined, "Bearer mine"], [cookie, authorization]);
});

scenario("[10] another origin gets neither cookie nor header", async (world) => {
  const page = await signedIn(world);

  await world.call(page, "/open");

  const [seen] = world.api.calls;
  assert.deepEqual([undefined, undefined], [seen!.headers.cookie, seen!.headers["x-portero"]]);
});

scenario("[45] a sign-out ends the session at the server and in the other tabs, and an answer on its way changes nothing", async (world) => {
  const page = await signedIn(world, { autoSignIn: false });
  const other = await world.tab();
  await world.session(other, { ...BFF, autoSignIn: false });
  await world.reaches(other, "signed_in");

  await page.evaluate(() => window.session.signOut());

  await other.waitForFunction(() => window.session.state === "signed_out");
  assert.equal(0, world.bff.sessions.size);
  assert.equal("sign_in_required", await call(page));
  assert.equal("signed_out", await world.state(page));
});

scenario("[6] the way back from the sign-in stays on this origin", async (world) => {
  const page = await world.tab();
  await world.session(page, BFF);
  await Promise.all([page.waitForNavigation(), page.evaluate(() => void window.session.signIn({ returnTo: "//evil.example" }))]);

  assert.equal(world.origin + "/", world.bff.signIns[0]!.get("return_to"));
});

scenario("[60] dispose leaves no listener and no channel behind, by cookie too", async (world) => {
  const page = await world.tab();
  await page.evaluate(() => {
    const left = ((window as unknown as { left: object }).left = { listeners: 0, channels: 0 });
    for (const target of [window, document]) {
      const { addEventListener: add, removeEventListener: remove } = target;
      target.addEventListener = (...args: unknown[]) => (left.listeners++, add.apply(target, args as never));
      target.removeEventListener = (...args: unknown[]) => (left.listeners--, remove.apply(target, args as never));
    }
    const Channel = window.BroadcastChannel;
    window.BroadcastChannel = class extends Channel {
      constructor(name: string) {
        super(name);
        left.channels++;
      }
      override close() {
        left.channels--;
        super.close();
      }
    };
  });
  await world.session(page, BFF);
  const read = () => page.evaluate(() => Object.values((window as unknown as { left: object }).left) as number[]);
  const [listeners, channels] = await read();
  assert.ok(listeners! > 0 && channels === 1, "there was something to leave behind");

  await page.evaluate(() => window.session.dispose());

  assert.deepEqual([0, 0], await read());
  assert.equal("disposed", await world.state(page));
});
