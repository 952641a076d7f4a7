/** Behaviours 59 and 60, and what a page with a strict policy asks of us. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";

inBrowser();

scenario("[59] every change of state is an event with a cause and a reason, and follows the table", async (world) => {
  const page = await world.signedIn({ autoSignIn: false });
  world.server.advance(301);
  world.server.faults.push({ kind: "drop" });
  await world.call(page, "/orders");
  await world.call(page, "/orders");
  await page.evaluate(() => window.session.signOut());

  const transitions = await page.evaluate(() => window.events.filter((event) => event.type === "transition"));

  assert.deepEqual(
    ["sign_in", "code_exchanged", "refresh", "refresh_failed", "refresh", "refreshed", "sign_out"],
    transitions.map((event) => event.type === "transition" && event.cause),
  );
  let state = "signed_out";
  for (const event of transitions) {
    assert.ok(event.type === "transition" && event.reason !== "" && event.from === state && event.at > 0);
    state = event.to;
  }
});

scenario("[59] no error holds a token, and no property of the session does", async (world) => {
  const page = await world.signedIn({ autoSignIn: false });
  const text = await page.evaluate(async (url) => {
    const errors: unknown[] = [];
    const keep = (error: Error) => errors.push(error.message, error.stack, JSON.stringify(error));
    await window.session.fetch(url, { method: "BAD METHOD" }).catch(keep);
    await window.session.signOut();
    await window.session.fetch(url).catch(keep);
    await window.session.refresh().catch(keep);
    return JSON.stringify(errors) + JSON.stringify(window.session) + Object.keys(window.session).join();
  }, world.api.origin + "/orders");

  for (const secret of [...world.server.accessTokens.keys(), ...world.server.refreshTokens.keys()]) assert.ok(!text.includes(secret));
});

scenario("[60] dispose leaves no timer, no listener and no channel behind", async (world) => {
  const page = await world.context.newPage();
  await page.addInitScript(() => {
    const left = ((window as { left?: unknown }).left = { timers: new Set<number>(), listeners: 0, channels: 0 });
    const { setTimeout: set, clearTimeout: clear, BroadcastChannel: Channel } = window;
    window.setTimeout = ((handler: () => void, delay?: number) => {
      const id = set(() => {
        left.timers.delete(id);
        handler();
      }, delay);
      left.timers.add(id);
      return id;
    }) as typeof setTimeout;
    window.clearTimeout = ((id: number) => {
      left.timers.delete(id);
      clear(id);
    }) as typeof clearTimeout;
    const ours = /^(online|visibilitychange|pageshow|pagehide|storage)$/;
    for (const target of [window, document]) {
      const { addEventListener: add, removeEventListener: remove } = target;
      target.addEventListener = (...args: unknown[]) => {
        if (ours.test(String(args[0]))) left.listeners++;
        add.apply(target, args as never);
      };
      target.removeEventListener = (...args: unknown[]) => {
        if (ours.test(String(args[0]))) left.listeners--;
        remove.apply(target, args as never);
      };
    }
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
  await world.visit(page);
  await world.signIn(page, { storage: "local" });
  const read = () =>
    page.evaluate(() => {
      const { timers, listeners, channels } = (window as unknown as { left: { timers: Set<number>; listeners: number; channels: number } }).left;
      return [timers.size, listeners, channels];
    });
  const [timers, listeners, channels] = await read();
  assert.ok(timers! > 0 && listeners! > 0 && channels === 1, "there was something to leave behind");

  await page.evaluate(() => window.session.dispose());

  assert.deepEqual([0, 0, 0], await read());
  assert.equal("disposed", await world.state(page));
  assert.equal("sign_in_required", await world.call(page, "/orders"));
});

scenario("a page with a strict Content-Security-Policy and Trusted Types works", async (world) => {
  world.csp = `default-src 'none'; img-src data:; script-src 'self'; connect-src ${world.server.issuer} ${world.api.origin}; worker-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'`;
  const page = await world.signedIn({ storage: "local" });
  world.server.advance(301);

  assert.equal(200, await world.call(page, "/orders"));
  assert.deepEqual([], world.console.filter((line) => /Content Security|TrustedScript|Refused/.test(line)));
});
