/** One authorization server, two APIs, one application, one browser: each on an origin of its own. */
import { assert } from "./assert.ts";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { Api } from "./api.ts";
import { AuthorizationServer } from "./authorization-server.ts";
import { BrowserSession } from "./browser-session.ts";

const ROOT = process.env["PORTERO_ROOT"]!;
const CHROMIUM = process.env["PORTERO_CHROMIUM"] || "/usr/bin/chromium";
/** The same engine without windows: a fourth of the work for a page, and no back-forward cache. */
const SHELL = "/usr/bin/chromium-headless-shell";
const page = (script: string) =>
  `<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,"><body><script type="module" src="/${script}.js"></script>`;

/** `whole`: the browser people have, where the test is about more than its engine. */
export function launch({ whole = false, args = [] as readonly string[] } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: whole || process.env["PORTERO_CHROMIUM"] || !existsSync(SHELL) ? CHROMIUM : SHELL,
    headless: true,
    // Playwright switches the back-forward cache off; people's browsers do not.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
  });
}

/** Every test has a world of its own: servers, clocks, and a browser profile. */
export class World {
  readonly server = new AuthorizationServer();
  readonly api = new Api(this.server);
  readonly stranger = new Api(this.server);
  /** The server side of mode `bff`, on the origin of the application. */
  readonly bff = new BrowserSession();
  readonly #app: Server;
  context!: BrowserContext;
  origin = "";
  csp: string | null = null;
  /** Everything any page wrote to its console, and every uncaught error. */
  readonly console: string[] = [];

  readonly errors: string[] = [];
  /** Every address any page asked for. */
  readonly addresses: string[] = [];

  private constructor() {
    this.#app = createServer((request, response) => {
      const { pathname } = new URL(request.url!, "http://app");
      if (this.bff.handles(pathname)) return this.bff.handle(request, response);
      if (pathname.endsWith(".js") || pathname.endsWith(".map")) {
        response.setHeader("Content-Type", "text/javascript");
        try {
          const folder = pathname.startsWith("/dist/") ? "" : "test/.build";
          return void response.end(readFileSync(join(ROOT, folder, pathname)));
        } catch {
          response.statusCode = 404;
          return void response.end();
        }
      }
      response.setHeader("Content-Type", "text/html");
      if (this.csp) response.setHeader("Content-Security-Policy", this.csp);
      response.end(page("harness"));
    });
  }

  static async start(browser: Browser): Promise<World> {
    const world = new World();
    await world.server.start();
    await world.api.start();
    await world.stranger.start();
    await new Promise<void>((resolve) => world.#app.listen(0, "127.0.0.1", resolve));
    world.origin = `http://127.0.0.1:${(world.#app.address() as AddressInfo).port}`;
    world.context = await browser.newContext({ ignoreHTTPSErrors: true });
    world.context.setDefaultTimeout(60_000);
    world.context.on("page", (page) => {
      page.on("console", (message) => world.console.push(message.text()));
      page.on("pageerror", (error) => {
        world.console.push(String(error));
        world.errors.push(String(error));
      });
      page.on("request", (request) => world.addresses.push(request.url()));
    });
    return world;
  }

  /** What must hold after every test: no token in a console, an event or an address; one attempt per refresh token. */
  async checkLaws(): Promise<void> {
    const secrets = [...this.server.refreshTokens.keys(), ...this.server.accessTokens.keys()];
    const said = [...this.console, ...this.addresses];
    for (const page of this.context.pages()) {
      said.push(await page.evaluate(() => JSON.stringify(window.events ?? [])).catch(() => ""));
    }
    for (const text of said) assert.ok(!secrets.some((secret) => text.includes(secret)), "[59] a token was said aloud");
    const attempts = new Map<string, string | null>();
    const superseded = new Set<string>();
    for (const { refreshToken, attempt, outcome } of this.server.refreshes()) {
      assert.match(/^[\w-]{22}$/, attempt ?? "", "[31] a refresh without an attempt");
      // Only the one last try after `superseded` brings a new attempt.
      if (!superseded.has(refreshToken!)) assert.equal(attempts.get(refreshToken!) ?? attempt, attempt, "[31] one refresh token, two attempts");
      attempts.set(refreshToken!, attempt);
      if (outcome.includes("superseded")) superseded.add(refreshToken!);
    }
    assert.deepEqual([], this.errors, "no uncaught error in any page");
  }

  async stop(): Promise<void> {
    await this.context.close();
    this.server.stop();
    this.api.stop();
    this.stranger.stop();
    this.#app.closeAllConnections();
    this.#app.close();
  }

  /** A page with the library loaded and no session made yet. */
  async tab(path = "/"): Promise<Page> {
    const page = await this.context.newPage();
    await this.visit(page, path);
    return page;
  }

  async visit(page: Page, path = "/"): Promise<void> {
    await page.goto(this.origin + path);
    await ready(page);
  }

  /** Make `window.session`. */
  async session(page: Page, config: Record<string, unknown> = {}): Promise<void> {
    await page.evaluate((given) => window.make(given as never), {
      issuer: this.server.issuer,
      clientId: "shop",
      redirectUri: `${this.origin}/callback`,
      scope: "openid orders:read",
      allowedOrigins: [this.api.origin],
      ...config,
    });
  }

  /** What a call ends with: a status, or the code of an error. */
  call(page: Page, path: string, init: { method?: string; body?: string; headers?: Record<string, string> } = {}): Promise<number | string> {
    return page.evaluate(([url, given]) => window.call(url, given), [this.api.origin + path, init] as const);
  }

  /** All events of this page so far, as text: `cause` of transitions, names of steps, warnings. */
  history(page: Page): Promise<string[]> {
    return page.evaluate(() => window.events.map((event) => (event.type === "transition" ? event.cause : event.type === "step" ? event.step : event.reason)));
  }

  state(page: Page): Promise<string> {
    return page.evaluate(() => window.session.state);
  }

  /** Move the clocks of this page, in seconds. */
  shift(page: Page, shift: { wall?: number; steady?: number }): Promise<void> {
    return page.evaluate((given) => void Object.assign(window.shift, given), shift);
  }

  /** Let the clocks of this page stand where they are: from here on they move by `shift` alone. */
  freeze(page: Page): Promise<void> {
    return page.evaluate(() => void (window.frozen = { wall: window.realNow.wall(), steady: window.realNow.steady() }));
  }

  /** Let an event of the browser happen. */
  happens(page: Page, type: "online" | "visibilitychange" | "pageshow"): Promise<void> {
    return page.evaluate((name) => void (name === "visibilitychange" ? document : window).dispatchEvent(new Event(name)), type);
  }

  async reaches(page: Page, state: string): Promise<void> {
    await page.waitForFunction((wanted) => window.session.state === wanted, state);
  }

  /** A page that is signed in, by a real redirect there and back. */
  async signedIn(config: Record<string, unknown> = {}, path = "/"): Promise<Page> {
    const page = await this.tab(path);
    await this.signIn(page, config);
    return page;
  }

  async signIn(page: Page, config: Record<string, unknown> = {}): Promise<void> {
    await this.session(page, config);
    await Promise.all([page.waitForURL(/\/callback/), page.evaluate(() => void window.session.signIn())]);
    await ready(page);
    await this.session(page, config);
    await page.evaluate(() => window.session.handleCallback());
  }
}

export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => typeof window.make === "function");
}

/** Wait for a condition of ours, under a deadline. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2)); // the browser needs the core more than we do
  }
}

/** A promise and its release. */
export function gate(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const promise = new Promise<void>((resolve) => (open = resolve));
  return { promise, open };
}
