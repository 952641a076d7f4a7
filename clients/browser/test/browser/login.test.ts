/** Behaviours 1 to 9: signing in. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { ready } from "../support/world.ts";

inBrowser();

scenario("[1] every authorization request carries an S256 challenge, and no setting takes it away", async (world) => {
  await world.signedIn({ pkce: false, usePkce: false, code_challenge_method: "plain" });

  const [query] = world.server.authorizations;
  assert.equal("S256", query!.get("code_challenge_method"));
  assert.match(/^[\w-]{43}$/, query!.get("code_challenge")!);
});

scenario("[2] two tabs that sign in at the same time both succeed", async (world) => {
  const tabs = [await world.tab(), await world.tab()];
  for (const tab of tabs) await world.session(tab);
  // Both attempts are stored before either comes back.
  for (const tab of tabs) await Promise.all([tab.waitForURL(/callback/), tab.evaluate(() => void window.session.signIn())]);

  for (const tab of tabs) {
    await ready(tab);
    await world.session(tab);
    await tab.evaluate(() => window.session.handleCallback());
    assert.equal("signed_in", await world.state(tab));
  }
  const [first, second] = world.server.authorizations;
  assert.notEqual(first!.get("state"), second!.get("state"));
  assert.notEqual(first!.get("code_challenge"), second!.get("code_challenge"));
});

scenario("[3] a callback that runs twice exchanges the code once", async (world) => {
  const page = await world.tab();
  await world.session(page);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn({ returnTo: "/orders?page=2" }))]);
  await ready(page);
  const address = page.url();
  await world.session(page);

  const results = await page.evaluate(() => Promise.all([window.session.handleCallback(), window.session.handleCallback()]));

  assert.deepEqual([world.origin + "/orders?page=2", world.origin + "/orders?page=2"], results.map((result) => result!.returnTo));
  assert.equal(1, world.server.posts.length);
  // A reload of the old address: a named error, no second exchange.
  await page.goto(address);
  await ready(page);
  await world.session(page);
  const code = await page.evaluate(() => window.session.handleCallback().catch((error: { code: string }) => error.code));
  assert.equal("login_attempt_unknown", code);
  assert.equal(1, world.server.posts.length);
});

scenario("[3] the code leaves the address bar before it is exchanged", async (world) => {
  const page = await world.signedIn();

  assert.equal(world.origin + "/callback", page.url());
});

scenario("[4] attempts that were never finished are pruned", async (world) => {
  const page = await world.tab();
  await world.session(page);
  const kept = () => page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes("login|")).length);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn())]);
  await world.visit(page);
  assert.equal(1, await kept());
  await world.session(page);
  await page.evaluate(() => (window.shift.wall = 3601));

  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn())]);

  await ready(page);
  assert.equal(1, await kept());
});

scenario("[5] a sign-in that comes back in another tab (a mail link) succeeds", async (world) => {
  const page = await world.tab();
  await world.session(page);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn())]);
  const address = page.url();
  await page.close();

  const other = await world.context.newPage();
  await other.goto(address);
  await ready(other);
  await world.session(other);
  await other.evaluate(() => window.session.handleCallback());

  assert.equal("signed_in", await world.state(other));
});

scenario("[5] a sign-in that comes back where nobody knows it ends with a named error, not with a loop", async (world) => {
  const page = await world.tab("/callback?code=abc&state=unknown&iss=x");
  await world.session(page);

  const code = await page.evaluate(() => window.session.handleCallback().catch((error: { code: string }) => error.code));

  assert.equal("login_attempt_unknown", code);
  assert.equal(0, world.server.authorizations.length);
  assert.equal(world.origin + "/callback", page.url());
});

scenario("[6] after sign-in nobody lands outside this origin", async (world) => {
  const page = await world.tab();
  for (const returnTo of ["//evil.example/x", "https://evil.example", "javascript:alert(1)", "/\\evil.example", "/\tx"]) {
    await world.visit(page);
    await world.session(page);
    await Promise.all([
      page.waitForURL(/callback/),
      page.evaluate((target) => void window.session.signIn({ returnTo: target }), returnTo),
    ]);
    await ready(page);
    await world.session(page);

    const result = await page.evaluate(() => window.session.handleCallback());

    assert.equal(world.origin + "/", result!.returnTo, returnTo);
  }
});

scenario("[7] fifty calls without a session are one navigation", async (world) => {
  const page = await world.tab();
  await world.session(page);

  await Promise.all([
    page.waitForURL(/callback/),
    page.evaluate((url) => void Array.from({ length: 50 }, () => window.call(url)), world.api.origin + "/orders"),
  ]);

  assert.equal(1, world.server.authorizations.length);
});

scenario("[7] fifty calls whose refresh is refused are one navigation, and come back to the page they left", async (world) => {
  const page = await world.signedIn({}, "/orders?page=3");
  await page.evaluate(() => history.replaceState(null, "", "/orders?page=3"));
  world.server.advance(301);
  world.server.end("sid-bob", "expired");

  await Promise.all([
    page.waitForURL(/callback/),
    page.evaluate((url) => void Array.from({ length: 50 }, () => window.call(url)), world.api.origin + "/orders"),
  ]);
  await ready(page);
  await world.session(page);

  assert.deepEqual({ returnTo: world.origin + "/orders?page=3" }, await page.evaluate(() => window.session.handleCallback()));
  assert.equal(2, world.server.authorizations.length);
});

scenario("[8] the third automatic redirect within a minute stops", async (world) => {
  const page = await world.tab();
  for (const expected of [1, 2]) {
    await world.session(page);
    await Promise.all([page.waitForURL(/callback/), page.evaluate((url) => void window.call(url), world.api.origin + "/orders")]);
    assert.equal(expected, world.server.authorizations.length);
    await world.visit(page);
  }
  await world.session(page);

  assert.equal("login_loop", await world.call(page, "/orders"));
  assert.equal(2, world.server.authorizations.length);
  assert.equal("signed_out", await world.state(page));
});

scenario("[8] a minute later an automatic redirect is welcome again", async (world) => {
  const page = await world.tab();
  for (const _ of [1, 2]) {
    await world.session(page);
    await Promise.all([page.waitForURL(/callback/), page.evaluate((url) => void window.call(url), world.api.origin + "/orders")]);
    await world.visit(page);
  }
  await world.session(page);
  await page.evaluate(() => (window.shift.wall = 61));

  await Promise.all([page.waitForURL(/callback/), page.evaluate((url) => void window.call(url), world.api.origin + "/orders")]);

  assert.equal(3, world.server.authorizations.length);
});

scenario("[9] an answer that names another issuer is refused before the code is sent anywhere", async (world) => {
  world.server.wrongIss = true;
  const page = await world.tab();
  await world.session(page);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn())]);
  await ready(page);
  await world.session(page);

  const code = await page.evaluate(() => window.session.handleCallback().catch((error: { code: string }) => error.code));

  assert.equal("issuer_mismatch", code);
  assert.equal(0, world.server.posts.length);
  assert.equal("signed_out", await world.state(page));
});

scenario("an error of the server reaches the application with its registered name", async (world) => {
  world.server.user = null;
  const page = await world.tab();
  await world.session(page);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn())]);
  await ready(page);
  await world.session(page);

  const error = await page.evaluate(() => window.session.handleCallback().catch((caught: { code: string; reason: string }) => [caught.code, caught.reason]));

  assert.deepEqual(["authorization_refused", "login_required"], error);
});

scenario("a call made while the code is being exchanged waits for the session", async (world) => {
  const page = await world.tab();
  await world.session(page);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.session.signIn())]);
  await ready(page);
  await world.session(page);

  const status = await page.evaluate((url) => {
    void window.session.handleCallback();
    return window.call(url);
  }, world.api.origin + "/orders");

  assert.equal(200, status);
});

