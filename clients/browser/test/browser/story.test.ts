/** The story once through, in a real browser: sign in, call, expire, refresh, sign out. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, World } from "../support/world.ts";

let world: World;
before(async () => (world = await World.start()));
after(() => world.stop());

test("a person signs in, a call meets an expired token, and nobody notices", async () => {
  const page = await world.signedIn();
  assert.equal(await page.evaluate((url) => window.call(url), `${world.api.origin}/orders`), 200);
  world.server.advance(301);

  assert.equal(await page.evaluate((url) => window.call(url), `${world.api.origin}/orders`), 200);
  assert.deepEqual(world.api.on("/orders").map((call) => call.status), [200, 401, 200]);
  assert.equal(world.server.refreshes().length, 1);
});

test("sign-out wipes, revokes, and the next call asks for a sign-in", async () => {
  const page = await world.signedIn({ autoSignIn: false });
  await page.evaluate(() => window.session.signOut());

  assert.equal(await page.evaluate(() => window.session.state), "signed_out");
  await eventually(() => world.server.revocations.length > 0, "a revocation");
  assert.equal(await page.evaluate((url) => window.call(url), `${world.api.origin}/orders`), "sign_in_required");
});
