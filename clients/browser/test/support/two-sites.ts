/**
 * Portero's own browser session and authorization server (Python), on two registrable domains over TLS: what a cookie
 * across sites does is only seen there. Names lead to this machine, here by a flag of Chromium.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launch } from "./world.ts";

const ROOT = process.env["PORTERO_ROOT"]!;
const REPOSITORY = join(ROOT, "../..");
const PYTHON = process.env["PYTHON"] ?? join(REPOSITORY, ".venv/bin/python");
export const PASSWORD = "correct horse battery";

export interface Look {
  readonly refreshes: number;
  readonly revocations: number;
  readonly calls: number;
  readonly rendered: readonly string[];
}

export class TwoSites {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  origin = "";
  issuer = "";
  browser!: Browser;
  context!: BrowserContext;

  private constructor(sealed: boolean) {
    const given = ["-m", "tests.client.browser_session.serve", "--pages", join(ROOT, "test/.build"), ...(sealed ? ["--sealed"] : [])];
    this.#process = spawn(PYTHON, given, { cwd: REPOSITORY, stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  static async start({ sealed = false } = {}): Promise<TwoSites> {
    const world = new TwoSites(sealed);
    const { origin, issuer, spki } = (await world.#answer()) as Record<string, string>;
    world.origin = origin!;
    world.issuer = issuer!;
    const names = ["www.shop.example", "blog.shop.example", "login.idp.example", "www.evil.example"];
    const args = [
      `--host-resolver-rules=${names.map((name) => `MAP ${name} 127.0.0.1`).join(",")}`,
      `--ignore-certificate-errors-spki-list=${spki}`,
    ];
    world.browser = await launch({ args });
    await world.clean();
    return world;
  }

  /** A profile of its own for each test. */
  async clean(): Promise<void> {
    await this.context?.close();
    this.context = await this.browser.newContext();
    this.context.setDefaultTimeout(60_000);
  }

  async stop(): Promise<void> {
    await this.browser?.close();
    this.#process.stdin!.end();
    if (this.#process.exitCode === null) await new Promise((resolve) => this.#process.once("exit", resolve));
  }

  /** Tell the servers something; the answer is theirs. */
  async tell(command: Record<string, unknown>): Promise<unknown> {
    this.#process.stdin!.write(JSON.stringify(command) + "\n");
    return this.#answer();
  }

  async look(): Promise<Look> {
    return (await this.tell({ do: "look" })) as Look;
  }

  /** `www.shop.example` by another name of this machine, on the same port. */
  at(host: string): string {
    return this.origin.replace("www.shop.example", host);
  }

  async tab(path = "/"): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(this.origin + path);
    await this.session(page);
    return page;
  }

  async session(page: Page): Promise<void> {
    await page.waitForFunction(() => typeof window.make === "function");
    await page.evaluate(() => window.make({ mode: "bff" } as never));
  }

  /** Through the sign-in page on the other site, and back. */
  async signIn(page: Page, returnTo = "/orders?page=2"): Promise<void> {
    await page.evaluate((to) => void window.session.signIn({ returnTo: to }), returnTo);
    await page.waitForURL((url) => url.hostname === "login.idp.example");
    await page.fill("input[name=username]", "ana");
    await page.fill("input[name=password]", PASSWORD);
    await page.click("button[type=submit]");
    await page.waitForURL(this.origin + returnTo);
    if (returnTo !== "/rendered") await this.session(page);
  }

  async #answer(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the Python side ended; its error stands above");
    return JSON.parse(value);
  }
}
