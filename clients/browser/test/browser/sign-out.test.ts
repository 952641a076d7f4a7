/** Behaviours 43, 44, 46, 47, 49 and 50: signing out, here and in the other tabs. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { eventually, gate } from "../support/world.ts";

inBrowser();

const QUIET = { autoSignIn: false };

scenario("[43] the tokens are gone before the server is told, and stay gone when it cannot be told", async (world) => {
  world.server.revokeFails = true;
  const page = await world.signedIn({ ...QUIET, storage: "local" });
  const during = await page.evaluate(() => {
    const out = window.session.signOut();
    const now = { state: window.session.state, keys: Object.keys(localStorage).filter((key) => key.endsWith("|tokens")) };
    return out.then(() => now);
  });

  assert.deepEqual({ state: "signed_out", keys: [] }, during);
  assert.equal("signed_out", await world.state(page));
  await world.visit(page);
  await world.session(page, { ...QUIET, storage: "local" });
  assert.equal("signed_out", await world.state(page));
});

scenario("[43] the revocation outlives the page", async (world) => {
  const page = await world.signedIn(QUIET);
  await page.evaluate(() => window.session.refresh());

  await page.evaluate(() => {
    void window.session.signOut();
    location.assign("about:blank");
  });

  await eventually(() => world.server.revocations.length === 1, "the revocation");
});

scenario("[43] with `redirect` the sign-in at the server ends too, without a token in the address", async (world) => {
  const page = await world.signedIn(QUIET);

  await Promise.all([page.waitForURL(world.origin + "/bye"), page.evaluate(() => void window.session.signOut({ redirect: true, returnTo: "/bye" }))]);

  assert.ok(world.addresses.some((address) => address.startsWith(world.server.issuer + "/end_session?client_id=shop&")));
});

for (const storage of [undefined, "tab", "local"]) {
  scenario(`[44] a refresh that lands after the sign-out is dropped, and what it brought is revoked (${storage ?? "memory"})`, async (world) => {
    const page = await world.signedIn({ ...QUIET, storage });
    world.server.advance(301);
    const slow = gate();
    world.server.faults.push({ kind: "hang", until: slow.promise, commit: true });
    const answer = world.call(page, "/orders");
    await eventually(() => world.server.refreshes().length === 1, "the refresh at the server");

    await page.evaluate(() => window.session.signOut());
    assert.equal("sign_in_required", await answer);
    slow.open();
    await page.waitForFunction(() => window.events.some((event) => event.type === "step" && event.step === "refresh.dropped"));

    assert.equal("signed_out", await world.state(page));
    assert.equal(null, await page.evaluate(() => window.session.getTokenInfo()));
    assert.equal(0, await page.evaluate(() => Object.keys(localStorage).concat(Object.keys(sessionStorage)).filter((key) => key.endsWith("|tokens")).length));
    const successor = [...world.server.refreshTokens.keys()].at(-1)!;
    await eventually(() => world.server.revocations.includes(successor), "the revocation of the successor");
  });
}

scenario("[44] a sign-out in another tab also stops the refresh of this one", async (world) => {
  const config = { ...QUIET, storage: "local", limits: { lock: 100 } };
  const first = await world.signedIn(config);
  const second = await world.tab();
  await world.session(second, config);
  world.server.advance(301);
  const slow = gate();
  world.server.faults.push({ kind: "hang", until: slow.promise, commit: true });
  const answer = world.call(second, "/orders");
  await eventually(() => world.server.refreshes().length === 1, "the refresh at the server");

  await first.evaluate(() => window.session.signOut());
  assert.equal("sign_in_required", await answer);
  slow.open();
  await second.waitForFunction(() => window.events.some((event) => event.type === "step" && event.step === "refresh.dropped"));

  for (const page of [first, second]) assert.equal("signed_out", await world.state(page));
  assert.equal(0, await first.evaluate(() => Object.keys(localStorage).filter((key) => key.endsWith("|tokens")).length));
});

scenario("[44] a new sign-in right after a sign-out is not disturbed by the old refresh", async (world) => {
  const page = await world.signedIn({ ...QUIET, storage: "local", limits: { lock: 100 } });
  world.server.advance(301);
  const slow = gate();
  world.server.faults.push({ kind: "hang", until: slow.promise, commit: true });
  void world.call(page, "/orders");
  await eventually(() => world.server.refreshes().length === 1, "the refresh at the server");
  await page.evaluate(() => window.session.signOut());
  // Signed in again in another tab; this one follows.
  world.server.user = "alice";
  await world.signedIn({ ...QUIET, storage: "local" });
  await world.reaches(page, "signed_in");

  slow.open();
  await page.waitForFunction(() => window.events.some((event) => event.type === "step" && event.step === "refresh.dropped"));

  const body = await page.evaluate(async (url) => (await window.session.fetch(url)).json() as Promise<{ sub: string }>, world.api.origin + "/orders");
  assert.equal("alice", body.sub);
});

for (const storage of [undefined, "local"]) {
  scenario(`[46] the other tabs learn of it at once, and what they had in flight ends (${storage ?? "memory"})`, async (world) => {
    const config = { ...QUIET, storage };
    const first = await world.signedIn(config);
    const second = await world.tab();
    if (storage) await world.session(second, config);
    else await world.signIn(second, config);
    const slow = gate();
    world.api.holds.set("/slow", slow.promise);
    const answer = world.call(second, "/slow");
    await eventually(() => world.api.on("/slow").length === 1, "the call in flight");

    await first.evaluate(() => window.session.signOut());
    await second.waitForFunction(() => window.session.state === "signed_out");

    assert.equal("sign_in_required", await answer);
    assert.equal("signed_out_elsewhere", (await world.history(second)).at(-1));
    slow.open();
  });
}

for (const storage of [undefined, "local"]) {
  scenario(`[47] another user signs in in one tab: the others reset (${storage ?? "memory"})`, async (world) => {
    const config = { ...QUIET, storage };
    const first = await world.signedIn(config);
    world.server.user = "alice";
    const second = await world.tab();
    await world.signIn(second, config);

    await first.waitForFunction(() => window.events.some((event) => event.type === "transition" && event.cause === "user_changed"));

    if (storage) {
      await world.reaches(first, "signed_in");
      assert.equal("alice", await first.evaluate(() => window.session.getTokenInfo()!.unverifiedClaims!["sub"]));
    } else {
      assert.equal("signed_out", await world.state(first));
    }
    assert.equal("signed_in", await world.state(second));
  });
}

scenario("[49] a sign-out is said once, and nobody answers it", async (world) => {
  const listener = await world.tab();
  await listener.evaluate((name) => {
    const heard: string[] = ((window as { heard?: string[] }).heard = []);
    new BroadcastChannel(name).onmessage = ({ data }: MessageEvent<{ kind: string }>) => heard.push(data.kind);
  }, `portero|${world.server.issuer}|shop||`);
  const pages = [];
  for (let count = 0; count < 4; count++) pages.push(await world.signedIn(QUIET));

  await pages[0]!.evaluate(() => window.session.signOut());
  for (const page of pages) await world.reaches(page, "signed_out");
  // One more message, behind everything that could have been an echo.
  await pages[1]!.evaluate((name) => new BroadcastChannel(name).postMessage({ kind: "end" }), `portero|${world.server.issuer}|shop||`);

  await listener.waitForFunction(() => (window as { heard?: string[] }).heard!.includes("end"));
  const heard = await listener.evaluate(() => (window as { heard?: string[] }).heard!);
  assert.equal(1, heard.filter((kind) => kind === "signed_out").length);
});

scenario("[50] two accounts in one browser know nothing of each other", async (world) => {
  const bob = await world.signedIn({ ...QUIET, storage: "local", account: "first" });
  world.server.user = "alice";
  const alice = await world.signedIn({ ...QUIET, storage: "local", account: "second" });
  world.server.advance(301);

  assert.deepEqual([200, 200], [await world.call(bob, "/orders"), await world.call(alice, "/orders")]);
  await alice.evaluate(() => window.session.signOut());
  await eventually(() => world.server.revocations.length === 1, "the revocation");

  assert.equal("signed_in", await world.state(bob));
  assert.equal(200, await world.call(bob, "/orders"));
  assert.equal("bob", world.server.families[0]!.sub);
  assert.equal(null, world.server.families[0]!.ended);
});

scenario("[50] the names of everything that tabs share hold the issuer, the client and the account", async (world) => {
  const page = await world.signedIn({ ...QUIET, storage: "local", account: "first" });
  world.server.advance(301);
  await world.call(page, "/orders");
  const names = await page.evaluate(async () => [
    ...Object.keys(localStorage),
    ...(await indexedDB.databases()).map((database) => database.name!),
  ]);

  assert.ok(names.length >= 2);
  for (const name of names) assert.ok(name.startsWith(`portero|${world.server.issuer}|shop|first|`), name);
});
