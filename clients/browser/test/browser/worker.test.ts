/** The session in a Web Worker: both tokens stay there, and everything else is as it was. */
import type { Page } from "playwright-core";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { eventually, gate, type World } from "../support/world.ts";

inBrowser();

const WORKER = { mode: "worker", dpop: false, autoSignIn: false };

/** Everything that page and worker say to each other, as JSON. */
async function spied(world: World): Promise<Page> {
  const page = await world.context.newPage();
  await page.addInitScript(() => {
    const said: string[] = ((window as { said?: string[] }).said = []);
    const Native = Worker;
    window.Worker = class extends Native {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        this.addEventListener("message", ({ data }) => said.push(JSON.stringify(data)));
      }
      override postMessage(message: unknown, ...rest: never[]) {
        said.push(JSON.stringify(message));
        super.postMessage(message, ...(rest as [never]));
      }
    };
  });
  await world.visit(page);
  return page;
}

for (const dpop of [false, true]) {
  scenario(`a whole life, and no token ever crosses between page and worker (${dpop ? "DPoP" : "Bearer"})`, async (world) => {
    const page = await spied(world);
    await world.signIn(page, { ...WORKER, dpop });
    assert.equal(200, await world.call(page, "/orders"));
    world.server.advance(301);
    assert.equal(200, await world.call(page, "/orders", { method: "POST", body: "x" }));
    const said = await page.evaluate(() => (window as { said?: string[] }).said!.join("\n"));
    await page.evaluate(() => window.session.signOut());

    assert.ok(said.includes("signed_in") && said.includes("/orders"));
    for (const secret of [...world.server.accessTokens.keys(), ...world.server.refreshTokens.keys()]) assert.ok(!said.includes(secret));
    assert.equal("sign_in_required", await world.call(page, "/orders"));
    assert.equal("signed_out", await world.state(page));
    await eventually(() => world.server.revocations.length === 1, "the revocation");
    assert.equal(dpop, world.server.posts.every((post) => post.dpop !== undefined));
  });
}

scenario("[13] a hundred calls at expiry are one refresh and a hundred successes, in a worker too", async (world) => {
  const page = await world.signedIn(WORKER);
  world.server.advance(301);

  const statuses = await page.evaluate((url) => Promise.all(Array.from({ length: 100 }, () => window.call(url))), world.api.origin + "/orders");

  assert.deepEqual(Array(100).fill(200), statuses);
  assert.equal(1, world.server.refreshes().length);
});

scenario("[22] an abort in the page reaches the worker", async (world) => {
  const page = await world.signedIn(WORKER);
  const slow = gate();
  world.api.holds.set("/slow", slow.promise);
  const answer = page.evaluate((url) => {
    const abort = new AbortController();
    (window as { abort?: AbortController }).abort = abort;
    return window.call(url, { signal: abort.signal });
  }, world.api.origin + "/slow");
  await eventually(() => world.api.on("/slow").length === 1, "the call in flight");

  await page.evaluate(() => (window as { abort?: AbortController }).abort!.abort());

  assert.match(/AbortError/, String(await answer));
  slow.open();
});

scenario("[40] a FormData body is byte-identical the second time, in a worker too", async (world) => {
  const page = await world.signedIn(WORKER);
  world.server.advance(301);

  const status = await page.evaluate((url) => {
    const form = new FormData();
    form.append("file", new File([new Uint8Array([1, 2, 3])], "photo.png"));
    return window.call(url, { method: "POST", body: form });
  }, world.api.origin + "/orders");

  assert.equal(200, status);
  const [first, second] = world.api.calls;
  assert.ok(first!.bytes > 100);
  assert.equal(first!.digest, second!.digest);
  assert.equal(first!.headers["content-type"], second!.headers["content-type"]);
});

scenario("the answer that reaches the page has its status, headers, address and body", async (world) => {
  const page = await world.signedIn(WORKER);

  const seen = await page.evaluate(async (url) => {
    const response = await window.session.fetch(url);
    return [response.status, response.ok, response.url, response.headers.get("content-type"), ((await response.json()) as { sub: string }).sub];
  }, world.api.origin + "/orders");

  assert.deepEqual([200, true, world.api.origin + "/orders", "application/json", "bob"], seen);
});

scenario("[7] [8] an automatic sign-in is one navigation, and the third within a minute stops", async (world) => {
  const page = await world.tab();
  for (const expected of [1, 2]) {
    await world.session(page, { ...WORKER, autoSignIn: true });
    await Promise.all([
      page.waitForURL(/callback/),
      page.evaluate((url) => void Array.from({ length: 50 }, () => window.call(url)), world.api.origin + "/orders"),
    ]);
    assert.equal(expected, world.server.authorizations.length);
    await world.visit(page);
  }
  await world.session(page, { ...WORKER, autoSignIn: true });

  assert.equal("login_loop", await world.call(page, "/orders"));
});

scenario("[46] a sign-out in a tab without a worker reaches the one with it", async (world) => {
  const page = await world.signedIn(WORKER);
  const other = await world.signedIn({ autoSignIn: false });

  await other.evaluate(() => window.session.signOut());

  await page.waitForFunction(() => window.session.state === "signed_out");
});

scenario("[60] dispose ends the worker, and its tokens with it", async (world) => {
  const page = await world.signedIn(WORKER);
  assert.equal(1, page.workers().length);

  await page.evaluate(() => window.session.dispose());

  await eventually(() => page.workers().length === 0, "the end of the worker");
  assert.equal("sign_in_required", await world.call(page, "/orders"));
});
