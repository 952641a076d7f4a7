/** Behaviours 45, 54, 55 and 56 with Portero's own browser session, on two registrable domains over TLS. */
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { assert } from "../support/assert.ts";
import { TwoSites } from "../support/two-sites.ts";

const LIMIT = { timeout: 120_000 };
let world: TwoSites;
before(async () => void (world = await TwoSites.start()), LIMIT);
after(() => world?.stop());

function scenario(title: string, body: () => Promise<void>): void {
  test(title, LIMIT, async () => {
    await world.clean();
    await body();
  });
}

async function signedIn(): Promise<Page> {
  const page = await world.tab();
  await world.signIn(page);
  await reaches(page, "signed_in");
  return page;
}

const call = (page: Page, path = "/api/orders") => page.evaluate((url) => window.call(url), path);
const reaches = (page: Page, state: string) => page.waitForFunction((wanted) => window.session.state === wanted, state);
const sessionCookies = async () => (await world.context.cookies()).filter(({ name }) => name === "__Host-portero-session");

scenario("[54] the Strict cookie is there on the first page after a sign-in on another site", async () => {
  const page = await world.tab();
  await world.signIn(page, "/rendered");

  // Rendered on the server, from the cookie of that very navigation: a redirect out of the callback would have lost it.
  assert.equal("Ana", await page.textContent("#who"));
  const [cookie, ...more] = await sessionCookies();
  assert.deepEqual([true, true, "Strict", "/", "www.shop.example", 0], [cookie!.httpOnly, cookie!.secure, cookie!.sameSite, cookie!.path, cookie!.domain, more.length]);
  assert.deepEqual([], (await world.context.cookies()).filter(({ name }) => name.includes("sign-in")));
  assert.ok(!page.url().includes("code="));
  await page.evaluate(() => history.back());
  await page.waitForURL((url) => url.href !== `${world.origin}/rendered`, { waitUntil: "commit" });
  assert.ok(!page.url().includes("code="), "the code stayed in the history");
});

scenario("[54] a page of the same site, or of another, cannot use the cookie", async () => {
  const page = await signedIn();
  const { calls } = await world.look();

  for (const host of ["blog.shop.example", "www.evil.example"]) {
    const other = await world.context.newPage();
    await other.goto(world.at(host) + "/page");
    const outcomes = await other.evaluate(
      async (origin) =>
        Promise.all(
          [{}, { headers: { "X-Portero": "1" } }, { method: "POST", body: "x" }, { mode: "no-cors" as const, method: "POST" }].map((init) =>
            fetch(`${origin}/api/orders`, { credentials: "include", ...init }).then(
              (response) => response.type === "opaque" || response.status,
              () => "failed",
            ),
          ),
        ),
      world.origin,
    );
    assert.deepEqual(["failed", "failed", "failed", true], outcomes, host);
    const opened = await other.evaluate(
      (url) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url);
          socket.onopen = () => resolve("open");
          socket.onerror = () => resolve("refused");
        }),
      `${world.origin.replace("https", "wss")}/api/orders/live`,
    );
    assert.equal("refused", opened, host);
    await other.close();
  }
  assert.equal(calls, (await world.look()).calls);
  assert.equal(200, await call(page));
});

scenario("[54] a WebSocket of the page itself goes through, with the token behind the cookie", async () => {
  const page = await signedIn();

  const said = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const socket = new WebSocket("/api/orders/live".replace(/^/, location.origin.replace("https", "wss")));
        socket.onopen = () => socket.send("hola");
        socket.onmessage = ({ data }) => resolve(data);
        socket.onerror = () => resolve("refused");
      }),
  );
  assert.equal("echo hola", said);
});

scenario("[55] while the server does not answer nothing is lost: the cookie stays, and it goes on", async () => {
  const page = await signedIn();
  const [before] = await sessionCookies();
  await world.tell({ do: "advance", minutes: 6 });
  await world.tell({ do: "away", value: true });

  assert.equal(503, await call(page));
  assert.equal("signed_in", await page.evaluate(() => window.session.state));
  assert.equal(before!.value, (await sessionCookies())[0]!.value);
  await world.tell({ do: "away", value: false });
  await world.tell({ do: "advance", minutes: 1 });
  assert.equal(200, await call(page));
});

scenario("[55] a service that says no ends nothing", async () => {
  const page = await signedIn();
  await world.tell({ do: "refuse", statuses: [401, 401] });

  assert.equal(401, await call(page));
  assert.equal("signed_in", await page.evaluate(() => window.session.state));
  assert.equal(200, await call(page));
});

scenario("[56] [32] pages rendered on the server and ten tabs that refresh together are one session and one refresh", async () => {
  const page = await signedIn();
  const tabs = await Promise.all(Array.from({ length: 9 }, () => world.tab()));
  await Promise.all(tabs.map((tab) => reaches(tab, "signed_in")));
  const before = await world.look();
  await world.tell({ do: "advance", minutes: 6 });

  const rendered = world.context.newPage().then(async (fresh) => {
    await fresh.goto(world.origin + "/rendered");
    return fresh.textContent("#who");
  });
  const outcomes = await Promise.all([page, ...tabs].flatMap((tab) => [call(tab), call(tab)]));

  assert.deepEqual(Array(20).fill(200), outcomes);
  assert.equal("Ana", await rendered);
  assert.equal(1, (await world.look()).refreshes - before.refreshes);
});

scenario("[45] a session that the server ended is over in every tab, and no answer brings its cookie back", async () => {
  const page = await signedIn();
  assert.equal(200, await call(page));
  const other = await world.tab();
  await reaches(other, "signed_in");

  await other.evaluate(() => window.session.signOut());

  await page.waitForFunction(() => window.session.state === "signed_out", null, { timeout: 60_000 });
  assert.deepEqual([], await sessionCookies());
  assert.equal(1, (await world.look()).revocations);
  const answer = await page.evaluate(() => fetch("/api/orders", { headers: { "X-Portero": "1" } }).then((response) => response.status));
  assert.equal(401, answer);
  assert.deepEqual([], await sessionCookies());
});

scenario("[48] the back button after a sign-out shows nobody", async () => {
  const page = await signedIn();
  await page.evaluate(() => void (location.href = "/elsewhere"));
  await page.waitForURL(/elsewhere/);
  await world.session(page);
  await reaches(page, "signed_in");
  await page.evaluate(() => window.session.signOut());

  await page.evaluate(() => history.back());
  await page.waitForURL(/orders/, { waitUntil: "commit" });

  await page.waitForFunction(() => typeof window.make === "function");
  if (!(await page.evaluate(() => Boolean(window.session)))) await world.session(page);
  await reaches(page, "signed_out");
});

test("[45] [55] sealed in the cookie: refreshed, signed out, and never back", LIMIT, async () => {
  const sealed = await TwoSites.start({ sealed: true });
  try {
    const page = await sealed.tab();
    await sealed.signIn(page);
    const cookie = async () => (await sealed.context.cookies()).find(({ name }) => name === "__Host-portero-session")?.value;
    const first = await cookie();
    await sealed.tell({ do: "advance", minutes: 6 });
    assert.equal(200, await call(page));
    const second = await cookie();
    assert.ok(first !== second, "the refreshed tokens are not in the cookie");
    await page.evaluate(() => window.session.signOut());
    assert.equal(undefined, await cookie());

    await sealed.context.addCookies([
      { name: "__Host-portero-session", value: second!, url: sealed.origin, secure: true, httpOnly: true, sameSite: "Strict" },
    ]);
    assert.equal(401, await page.evaluate(() => fetch("/session", { headers: { "X-Portero": "1" } }).then(({ status }) => status)));
    assert.equal(undefined, await cookie());
  } finally {
    await sealed.stop();
  }
});
