/** The story once through: sign in, call, expire, refresh, sign out. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { eventually } from "../support/world.ts";

inBrowser();

scenario("a person signs in, a call meets an expired token, and nobody notices", async (world) => {
  const page = await world.signedIn();
  assert.equal(200, await world.call(page, "/orders"));
  world.server.advance(301);

  assert.equal(200, await world.call(page, "/orders"));
  assert.deepEqual([200, 401, 200], world.api.on("/orders").map((call) => call.status));
  assert.equal(1, world.server.refreshes().length);
});

scenario("sign-out wipes, revokes, and the next call asks for a sign-in", async (world) => {
  const page = await world.signedIn({ autoSignIn: false });
  await page.evaluate(() => window.session.signOut());

  assert.equal("signed_out", await world.state(page));
  await eventually(() => world.server.revocations.length > 0, "a revocation");
  assert.equal("sign_in_required", await world.call(page, "/orders"));
});
