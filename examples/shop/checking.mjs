/** What both walks of the story have in common: the browser, devices, the wire, and what the services saw. */
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(new URL("../../clients/browser/package.json", import.meta.url));
const { chromium } = require("playwright-core");

export const shop = JSON.parse(process.env.SHOP);
const at = (port) => `http://localhost:${port}`;
export const issuer = at(shop.authorization_port);
export const page_origin = at(shop.page_port);
export const direct = { orders: at(shop.orders_port), inventory: at(shop.inventory_port), shipping: at(shop.shipping_port) };
export const gateway = shop.layout === "middleware" ? undefined : at(shop.gateway_port);
/** Where the page calls each service: by itself, or through the gateway. */
export const service = gateway === undefined ? direct : Object.fromEntries(Object.keys(direct).map((name) => [name, `${gateway}/api/${name}-service`]));
export const frameworks = { orders: "FastAPI", inventory: "Flask", shipping: "Django" };
export const ana = { username: "ana", password: "cafe-con-leche" };
export const DEADLINE = 60_000;
const shots = process.env.SHOTS; // a folder for screenshots, when somebody wants to look

const results = [];

/** Run a step; a failure is printed and the next steps still run. */
export async function step(number, prove) {
  try {
    const what = await prove();
    results.push(true);
    console.log(`step ${number} ok ${what}`);
  } catch (error) {
    results.push(false);
    console.log(`step ${number} FAILED ${String(error.message ?? error).split("\n")[0]}`);
  }
}

export function must(condition, what) {
  if (!condition) throw new Error(what);
}

export const seenBy = (name) =>
  readFileSync(join(shop.folder, `${name}.seen`), "utf8").trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));

export const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
export const bearerOf = (request) => request.headers()["authorization"]?.replace(/^Bearer /, "");

/** A browser profile of its own: one device. */
export async function device(name) {
  const context = await browser.newContext({ locale: "en-US", viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  const wire = []; // {request, response, body}, in order of the answers
  page.on("response", (response) => {
    // Read at once: after a navigation the browser has forgotten it.
    const body = response.json().catch(() => undefined);
    wire.push({ request: response.request(), response, body });
  });
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (process.env.VERBOSE) console.log(`# ${name}: ${message.type()} ${message.text()}`);
  });
  return { name, context, page, wire, errors };
}

export const shot = async (one, name) => {
  if (shots) await one.page.screenshot({ path: join(shots, `${name}.png`) });
};

export async function ready(one) {
  try {
    await one.page.waitForSelector("html[data-ready=yes]", { state: "attached", timeout: DEADLINE });
  } catch {
    throw new Error(`the page did not start within ${DEADLINE} ms: ${one.errors.join("; ") || "no error was thrown"}`);
  }
}

export async function signIn(one, person) {
  await one.page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
  if (shop.login === "afip") {
    await one.page.click("a[href*='/sign-in/clave_fiscal/start']");
    await one.page.waitForURL((url) => url.origin === at(shop.login_port), { timeout: DEADLINE });
    await one.page.click("button[type=submit]");
    await one.page.waitForURL((url) => url.origin === issuer && url.pathname.endsWith("/choose"), { timeout: DEADLINE });
    await one.page.check("#acting-1");
  } else if (shop.login === "oidc") {
    // Acme may know the person still: then it sends them back at once.
    await one.page.click("a[href*='/sign-in/openid/acme/start']");
    await one.page.waitForURL((url) => url.origin === page_origin || (url.port === String(shop.login_port) && url.pathname === "/sign-in"), { timeout: DEADLINE });
    if (new URL(one.page.url()).origin === page_origin) return ready(one);
    await one.page.fill("input[name=username]", person.username);
    await one.page.fill("input[name=password]", person.password);
  } else {
    await one.page.fill("input[name=username]", person.username);
    await one.page.fill("input[name=password]", person.password);
  }
  await Promise.all([one.page.waitForURL((url) => url.origin === page_origin, { timeout: DEADLINE }), one.page.click("button[type=submit]")]);
  await ready(one);
}

/** Wait until the wire holds an exchange that fits, at or after `from`. */
export async function exchange(one, fits, from = 0) {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const found = one.wire.slice(from).find(({ request, response }) => fits(request, response));
    if (found) return found;
    if (Date.now() > deadline) {
      const seen = one.wire.slice(from).map(({ request, response }) => `${response.status()} ${request.method()} ${new URL(request.url()).pathname}`);
      throw new Error(`not seen within ${DEADLINE} ms; on the wire: ${seen.join(", ") || "nothing"}`);
    }
    await new Promise((resume) => setTimeout(resume, 25));
  }
}

/** Milliseconds until every service refuses the token. How many is printed and measured elsewhere; here it must happen. */
export async function refusedEverywhere(token) {
  const started = Date.now();
  for (const [name, url] of Object.entries(service)) {
    for (;;) {
      const answer = await fetch(`${url}/${name}`, { headers: { Authorization: `Bearer ${token}` } });
      if (answer.status === 401) break;
      must(Date.now() - started < DEADLINE, `${name} still answered ${answer.status} after ${DEADLINE} ms`);
    }
  }
  return Date.now() - started;
}

export const to = (url, method = "GET") => (request) => request.url() === url && request.method() === method;
export const tokenCall = (grant) => (request) =>
  request.url() === `${issuer}/token` && request.method() === "POST" && new URLSearchParams(request.postData() ?? "").get("grant_type") === grant;

const profile = mkdtempSync(join(tmpdir(), "portero-chromium-"));
const browser = await chromium.launch({
  executablePath: process.env.PORTERO_CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

/** Walk the story; its end is the program's: 0 when all twelve steps held. */
export async function walk(story) {
  try {
    await story();
  } catch (error) {
    results.push(false);
    console.log(`check FAILED ${error.message}`);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
  process.exit(results.length >= 12 && results.every(Boolean) ? 0 : 1);
}
