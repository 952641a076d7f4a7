/** Behaviours 32 to 38: many tabs, one session. */
import type { Page } from "playwright-core";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { eventually, gate, type World } from "../support/world.ts";

inBrowser();

const LOCAL = { storage: "local", autoSignIn: false, limits: { lock: 150, refresh: 3000 } };

async function tabs(world: World, count: number, config: Record<string, unknown> = LOCAL, prepare?: (page: Page) => Promise<unknown>): Promise<Page[]> {
  const first = await world.tab();
  if (prepare) {
    await prepare(first);
    await world.visit(first);
  }
  await world.signIn(first, config);
  const pages = [first];
  while (pages.length < count) {
    const page = await world.context.newPage();
    await prepare?.(page);
    await world.visit(page);
    await world.session(page, config);
    pages.push(page);
  }
  return pages;
}

const callAll = (world: World, pages: readonly Page[]) => Promise.all(pages.map((page) => world.call(page, "/orders")));

scenario("[32] ten tabs are one refresh for each cycle", async (world) => {
  const pages = await tabs(world, 10, { ...LOCAL, limits: { lock: 5000 } });
  for (let cycle = 1; cycle <= 10; cycle++) {
    world.server.advance(301);

    assert.deepEqual(Array(10).fill(200), await callAll(world, pages));
    assert.equal(cycle, world.server.refreshes().length);
  }
});

scenario("[17] ten tabs of one login whose token comes near its end together are one proactive refresh", async (world) => {
  const pages = await tabs(world, 10, { ...LOCAL, limits: { lock: 5000 } });
  for (const page of pages) await world.shift(page, { wall: 285 });

  await Promise.all(pages.map((page) => world.happens(page, "visibilitychange")));

  for (const page of pages) {
    await page.waitForFunction(() => window.session.state === "signed_in" && window.session.getTokenInfo()!.age < 50);
  }
  assert.equal(1, world.server.refreshes().length);
});

scenario("[32] a tab whose process does not see yet what another has stored waits until it does, and asks nobody", async (world) => {
  const [first, second] = await tabs(world, 2, { ...LOCAL, limits: { lock: 5000 } });
  await second!.evaluate(() => {
    const key = Object.keys(localStorage).find((name) => name.endsWith("|tokens"))!;
    const old = localStorage.getItem(key);
    const { getItem } = Storage.prototype;
    let reads = 30;
    Storage.prototype.getItem = function (name) {
      return name === key && reads-- > 0 ? old : getItem.call(this, name);
    };
  });
  world.server.advance(301);
  assert.equal(200, await world.call(first!, "/orders"));

  assert.equal(200, await world.call(second!, "/orders"));
  assert.equal(1, world.server.refreshes().length);
});

const withoutLocks: readonly (readonly [string, (page: Page) => Promise<unknown>])[] = [
  ["absent", (page) => page.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }))],
  ["denied", (page) => page.addInitScript(() => Object.defineProperty(navigator, "locks", { value: { request: () => Promise.reject(new Error("denied")) } }))],
];

for (const [name, prepare] of withoutLocks) {
  scenario(`[33] with Web Locks ${name}, racing tabs send one attempt and all succeed`, async (world) => {
    const pages = await tabs(world, 5, LOCAL, prepare);
    for (let cycle = 1; cycle <= 3; cycle++) {
      world.server.advance(301);
      assert.deepEqual(Array(5).fill(200), await callAll(world, pages));
    }

    // Several POSTs, but one attempt and one successor for each token; `checkLaws` holds the first.
    assert.equal(4, world.server.refreshTokens.size);
    assert.equal(null, world.server.families[0]!.ended);
  });
}

/** Take the lock of the session in this page, for ever. */
async function holdLock(page: Page): Promise<void> {
  await page.evaluate(() => {
    const key = Object.keys(localStorage).find((name) => name.endsWith("|tokens"))!;
    const { id } = JSON.parse(localStorage.getItem(key)!) as { id: string };
    return new Promise<void>((granted) => {
      void navigator.locks.request(key.replace(/tokens$/, "") + id, () => {
        granted();
        return new Promise(() => {});
      });
    });
  });
}

scenario("[33] with the lock held for ever by another tab, the wait is bounded and the call succeeds", async (world) => {
  const pages = await tabs(world, 3);
  await holdLock(pages[0]!);
  world.server.advance(301);

  assert.deepEqual([200, 200], await callAll(world, pages.slice(1)));
});

scenario("[33] with the lock held by a frozen tab, the wait is bounded and the call succeeds", async (world) => {
  const pages = await tabs(world, 3);
  await holdLock(pages[0]!);
  const devtools = await world.context.newCDPSession(pages[0]!);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  world.server.advance(301);

  assert.deepEqual([200, 200], await callAll(world, pages.slice(1)));
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
});

scenario("[34] no listener runs inside the lock: one that throws, and one that calls back, harm nothing", async (world) => {
  const [page] = await tabs(world, 1);
  await page!.evaluate((url) => {
    window.session.onEvent(() => new Promise(() => {}) as never);
    window.session.onEvent((event) => {
      if (event.type === "step" && event.step === "refresh.sent") (window as { inner?: unknown }).inner = window.call(url);
    });
  }, world.api.origin + "/inner");
  world.server.advance(301);

  assert.equal(200, await world.call(page!, "/orders"));
  assert.equal(200, await page!.evaluate(() => (window as { inner?: Promise<unknown> }).inner as Promise<number>));
  assert.equal(1, world.server.refreshes().length);
});

scenario("[35] when a tab announces new tokens, they are in the store", async (world) => {
  const [first, second] = await tabs(world, 2);
  await second!.evaluate(() => {
    const key = Object.keys(localStorage).find((name) => name.endsWith("|tokens"))!;
    const before = localStorage.getItem(key);
    const channel = new BroadcastChannel(key.replace(/tokens$/, ""));
    (window as { seen?: unknown }).seen = new Promise((resolve) => (channel.onmessage = () => resolve(localStorage.getItem(key) !== before)));
  });

  await first!.evaluate(() => window.session.refresh());

  assert.equal(true, await second!.evaluate(() => (window as { seen?: Promise<boolean> }).seen as Promise<boolean>));
});

scenario("[36] nothing a tab announces holds a token", async (world) => {
  const listener = await world.tab();
  await listener.evaluate((name) => {
    const heard: string[] = ((window as { heard?: string[] }).heard = []);
    new BroadcastChannel(name).onmessage = ({ data }) => heard.push(JSON.stringify(data));
  }, `portero|${world.server.issuer}|shop||`);
  const [page] = await tabs(world, 1);
  await page!.evaluate(() => window.session.refresh());
  await page!.evaluate(() => window.session.signOut());

  await listener.waitForFunction(() => (window as { heard?: string[] }).heard!.length >= 3);
  const heard = await listener.evaluate(() => (window as { heard?: string[] }).heard!);
  assert.deepEqual(['{"kind":"signed_in","sub":"bob"}', '{"kind":"refreshed"}', '{"kind":"signed_out"}'], heard);
});

const blocked: readonly (readonly [string, () => void])[] = [
  [
    "full",
    () => {
      const original = Storage.prototype.setItem;
      Storage.prototype.setItem = function (key, value) {
        if (this === localStorage && value.length > 500) throw new DOMException("full", "QuotaExceededError");
        original.call(this, key, value);
      };
    },
  ],
  [
    "blocked",
    () =>
      Object.defineProperty(window, "localStorage", {
        get() {
          throw new DOMException("blocked", "SecurityError");
        },
      }),
  ],
  [
    "blocked like everything else",
    () => {
      for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
        Object.defineProperty(window, name, {
          get() {
            throw new DOMException("blocked", "SecurityError");
          },
        });
      }
    },
  ],
];

for (const [name, block] of blocked) {
  scenario(`[37] with localStorage ${name}, login works, the tokens live in memory, and one warning says so`, async (world) => {
    const page = await world.context.newPage();
    await page.addInitScript(block);
    await world.visit(page);
    await world.signIn(page, LOCAL);

    assert.equal(200, await world.call(page, "/orders"));
    world.server.advance(301);
    assert.equal(200, await world.call(page, "/orders"));
    assert.equal("memory", await page.evaluate(() => window.session.getTokenInfo()!.storage));
    assert.deepEqual(["storage_blocked"], (await world.history(page)).filter((entry) => entry === "storage_blocked"));
  });
}

for (const committed of [true, false]) {
  scenario(`[38] a tab that crashes in the middle of a refresh (${committed ? "committed" : "not committed"}): the next carries on`, async (world) => {
    const [first, second] = await tabs(world, 2);
    world.server.advance(301);
    const never = gate();
    world.server.faults.push({ kind: "hang", until: never.promise, commit: committed });
    void world.call(first!, "/orders").catch(() => {});
    await eventually(() => world.server.refreshes().length === 1, "the refresh of the first tab");
    const devtools = await world.context.newCDPSession(first!);
    void devtools.send("Page.crash").catch(() => {});
    await first!.waitForEvent("crash");

    assert.equal(200, await world.call(second!, "/orders"));
    assert.equal(2, world.server.refreshes().length);
    assert.equal(null, world.server.families[0]!.ended);
    never.open();
  });
}

scenario("[38] a duplicated tab starts with a copy of sessionStorage, and both live on", async (world) => {
  const config = { storage: "tab", autoSignIn: false };
  const first = await world.signedIn(config);
  const [second] = await Promise.all([world.context.waitForEvent("page"), first.evaluate(() => void window.open("/"))]);
  await second.waitForFunction(() => typeof window.make === "function");
  await world.session(second, config);
  world.server.advance(301);

  assert.deepEqual([200, 200], await Promise.all([world.call(first, "/orders"), world.call(second, "/orders")]));
  assert.equal(null, world.server.families[0]!.ended);
});
