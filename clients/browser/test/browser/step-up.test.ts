/** RFC 9470: a request that needs a fresher or stronger sign-in. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { ready } from "../support/world.ts";

inBrowser();

scenario("a step-up leads to the sign-in page with what was asked for, comes back to this page, and gives the request back", async (world) => {
  const config = { keepRequestOverStepUp: true };
  const page = await world.signedIn(config);
  await page.evaluate(() => history.replaceState(null, "", "/orders/17"));
  world.api.stepUps.set("/refund", "mfa");

  await Promise.all([
    page.waitForURL(/callback/),
    page.evaluate((url) => void window.call(url, { method: "POST", body: "größe", headers: { "Idempotency-Key": "r-1" } }), world.api.origin + "/refund"),
  ]);
  await ready(page);
  await world.session(page, config);
  const [returnTo, status] = await page.evaluate(async () => {
    const { returnTo, request } = (await window.session.handleCallback())!;
    return [returnTo, (await window.session.fetch(request!)).status] as const;
  });

  assert.equal(world.origin + "/orders/17", returnTo);
  assert.equal(200, status);
  const query = world.server.authorizations.at(-1)!;
  assert.deepEqual(["mfa", "300"], [query.get("acr_values"), query.get("max_age")]);
  const [first, second] = world.api.on("/refund");
  assert.equal(first!.digest, second!.digest);
  assert.equal("r-1", second!.headers["idempotency-key"]);
  assert.equal(0, world.server.refreshes().length);
});

scenario("without the setting nothing of the request is stored", async (world) => {
  const page = await world.signedIn();
  world.api.stepUps.set("/refund", "mfa");

  await Promise.all([page.waitForURL(/callback/), page.evaluate((url) => void window.call(url, { method: "POST", body: "secret" }), world.api.origin + "/refund")]);
  await ready(page);

  // Asked again where the browser has not done with the navigation yet; what was stored would stay.
  await page.waitForFunction(() => !JSON.stringify(localStorage).includes("refund"));
});

scenario("an application that signs in by itself gets the error, with what the challenge asked for; the session goes on", async (world) => {
  const page = await world.signedIn({ autoSignIn: false });
  world.api.stepUps.set("/refund", "mfa");

  const error = await page.evaluate(
    (url) => window.session.fetch(url).catch((caught: { name: string; acrValues: string; maxAge: string }) => [caught.name, caught.acrValues, caught.maxAge]),
    world.api.origin + "/refund",
  );

  assert.deepEqual(["StepUpRequiredError", "mfa", "300"], error);
  assert.equal("signed_in", await world.state(page));
  assert.equal(200, await world.call(page, "/orders"));
});
