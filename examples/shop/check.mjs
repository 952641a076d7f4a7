/**
 * The twelve steps of the story in headless Chromium, against the running demo.
 *
 * Prints `step N ok|FAILED what was seen` for each, and exits with 1 if any failed. A step is proven by what was on the
 * wire (Chromium's own network events) and by what the services saw (their `.seen` files), not by what the page says.
 */
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(new URL("../../clients/browser/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const shop = JSON.parse(process.env.SHOP);
const at = (port) => `http://localhost:${port}`;
const issuer = at(shop.authorization_port);
const page_origin = at(shop.page_port);
const direct = { orders: at(shop.orders_port), inventory: at(shop.inventory_port), shipping: at(shop.shipping_port) };
const gateway = shop.layout === "middleware" ? undefined : at(shop.gateway_port);
/** Where the page calls each service: by itself, or through the gateway. */
const service = gateway === undefined ? direct : Object.fromEntries(Object.keys(direct).map((name) => [name, `${gateway}/api/${name}-service`]));
const frameworks = { orders: "FastAPI", inventory: "Flask", shipping: "Django" };
const ana = { username: "ana", password: "cafe-con-leche" };
const DEADLINE = 10_000;
const shots = process.env.SHOTS; // a folder for screenshots, when somebody wants to look

const results = [];

/** Run a step; a failure is printed and the next steps still run. */
async function step(number, prove) {
  try {
    const what = await prove();
    results.push(true);
    console.log(`step ${number} ok ${what}`);
  } catch (error) {
    results.push(false);
    console.log(`step ${number} FAILED ${String(error.message ?? error).split("\n")[0]}`);
  }
}

function must(condition, what) {
  if (!condition) throw new Error(what);
}

const seenBy = (name) =>
  readFileSync(join(shop.folder, `${name}.seen`), "utf8").trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));

const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
const bearerOf = (request) => request.headers()["authorization"]?.replace(/^Bearer /, "");

/** A browser profile of its own: one device. */
async function device(browser, name) {
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

const shot = async (one, name) => {
  if (shots) await one.page.screenshot({ path: join(shots, `${name}.png`) });
};

async function ready(one) {
  try {
    await one.page.waitForSelector("html[data-ready=yes]", { state: "attached", timeout: DEADLINE });
  } catch {
    throw new Error(`the page did not start within ${DEADLINE} ms: ${one.errors.join("; ") || "no error was thrown"}`);
  }
}

async function signIn(one, person) {
  await one.page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
  await one.page.fill("input[name=username]", person.username);
  await one.page.fill("input[name=password]", person.password);
  await Promise.all([one.page.waitForURL((url) => url.origin === page_origin, { timeout: DEADLINE }), one.page.click("button[type=submit]")]);
  await ready(one);
}

/** Wait until the wire holds an exchange that fits, at or after `from`. */
async function exchange(one, fits, from = 0) {
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

/** Milliseconds until every service refuses the token; a second is the most it may take. */
async function refusedEverywhere(token) {
  const started = Date.now();
  for (const [name, url] of Object.entries(service)) {
    for (;;) {
      const answer = await fetch(`${url}/${name}`, { headers: { Authorization: `Bearer ${token}` } });
      if (answer.status === 401) break;
      must(Date.now() - started < 1000, `${name} still answered ${answer.status} after a second`);
    }
  }
  return Date.now() - started;
}

const to = (url, method = "GET") => (request) => request.url() === url && request.method() === method;
const tokenCall = (grant) => (request) =>
  request.url() === `${issuer}/token` && request.method() === "POST" && new URLSearchParams(request.postData() ?? "").get("grant_type") === grant;

const profile = mkdtempSync(join(tmpdir(), "portero-chromium-"));
const browser = await chromium.launch({
  executablePath: process.env.PORTERO_CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

try {
  const laptop = await device(browser, "laptop");
  const { page, wire } = laptop;
  await page.goto(page_origin);
  await ready(laptop);
  let first, second, mark;

  await step(1, async () => {
    await page.click("#sign-in");
    await page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
    await shot(laptop, "sign-in");
    await signIn(laptop, ana);
    const { request, response, body } = await exchange(laptop, tokenCall("authorization_code"));
    first = await body;
    must(response.status() === 200 && first.access_token && first.refresh_token, `token endpoint answered ${response.status()}`);
    must(new URLSearchParams(request.postData()).get("code_verifier"), "no code_verifier was sent");
    must(!page.url().includes("code="), "the code stayed in the address bar");
    return `code + PKCE at ${issuer}; access token (${Object.keys(claimsOf(first.access_token)).length} claims) and refresh token received`;
  });

  await step(2, async () => {
    mark = wire.length;
    await page.click("[data-call=orders]");
    const { request } = await exchange(laptop, to(`${service.orders}/orders`), mark);
    must(bearerOf(request) === first.access_token, "the request carried another token");
    must(seenBy("orders").some((line) => line.path === "/orders" && line.bearer), "the service saw no bearer");
    must(!request.url().includes(first.access_token), "the token was in the URL");
    return `GET /orders carried Authorization: Bearer to ${service.orders}, and the service saw it`;
  });

  await step(3, async () => {
    const [header, payload, signature] = first.access_token.split(".");
    const forged = Buffer.from(JSON.stringify({ ...claimsOf(first.access_token), sub: "root" })).toString("base64url");
    const status = async (token, name) =>
      (await laptop.context.request.get(`${service[name]}/${name}`, { headers: { Authorization: `Bearer ${token}` } })).status();
    for (const name of Object.keys(service)) {
      must((await status(`${header}.${forged}.${signature}`, name)) === 401, `${name} did not refuse a forged token`);
      must((await status(`${header}.${payload}.${"A".repeat(signature.length)}`, name)) === 401, `${name} did not refuse a made-up signature`);
      must((await status(first.id_token ?? "x", name)) === 401, `${name} took an ID token for an access token`);
    }
    mark = wire.length;
    await page.click("[data-call=refund]");
    const { response } = await exchange(laptop, to(`${service.orders}/orders/1001/refund`, "POST"), mark);
    must(response.status() === 403, `a missing role answered ${response.status()}`);
    must(!wire.slice(mark).some(({ request }) => tokenCall("refresh_token")(request)), "a 403 caused a refresh");
    return "forged claims, made-up signature and ID token: 401 at every service; role missing: 403 insufficient_scope and no refresh";
  });

  await step(4, async () => {
    for (const name of Object.keys(service)) {
      mark = wire.length;
      await page.click(`[data-call=${name}]`);
      const { response, body } = await exchange(laptop, to(`${service[name]}/${name}`), mark);
      const caller = (await body)?.caller;
      must(response.status() === 200 && caller === claimsOf(first.access_token).sub, `${name} answered ${response.status()} to ${caller}`);
    }
    await shot(laptop, "signed-in");
    if (gateway !== undefined) {
      // Around the gateway: its services believe the gateway alone, those of the hybrid check for themselves.
      const around = (await fetch(`${direct.orders}/orders`, { headers: { Authorization: `Bearer ${first.access_token}` } })).status;
      must(around === (shop.layout === "gateway" ? 401 : 200), `around the gateway: ${around}`);
    }
    return `${Object.entries(frameworks).map(([name, framework]) => `${name} (${framework})`).join(", ")} answered 200 and named the caller`;
  });

  let afterExpiry;
  await step(5, async () => {
    await page.click("[data-event=expire]");
    mark = wire.length;
    afterExpiry = mark;
    await page.click("[data-call=inventory]");
    const { request, response } = await exchange(laptop, (r, a) => to(`${service.inventory}/inventory`)(r) && a.status() === 401, mark);
    const challenge = response.headers()["www-authenticate"] ?? "";
    must(bearerOf(request) === first.access_token, "another token was refused");
    must(/error="invalid_token"/.test(challenge) && /expired/.test(challenge), `the challenge was ${challenge}`);
    return `401 on the wire: ${challenge}`;
  });

  await step(6, async () => {
    const { request } = await exchange(laptop, tokenCall("refresh_token"), afterExpiry);
    const form = new URLSearchParams(request.postData());
    must(form.get("refresh_token") === first.refresh_token, "another refresh token was sent");
    must(/^[A-Za-z0-9_-]{22}$/.test(form.get("refresh_attempt") ?? ""), "no refresh_attempt was sent");
    return "POST /token grant_type=refresh_token with its refresh_attempt";
  });

  await step(7, async () => {
    const { response, body } = await exchange(laptop, tokenCall("refresh_token"), afterExpiry);
    second = await body;
    must(response.status() === 200, `the refresh answered ${response.status()}`);
    must(second.access_token !== first.access_token, "the access token is the old one");
    must(second.refresh_token && second.refresh_token !== first.refresh_token, "the refresh token was not rotated");
    const invented = await laptop.context.request.post(`${issuer}/token`, {
      form: { grant_type: "refresh_token", refresh_token: "prt1.AAAA.AAAA", client_id: "shop-page", refresh_attempt: "A".repeat(22) },
    });
    must(invented.status() === 400 && (await invented.json()).error === "invalid_grant", `an invented token answered ${invented.status()}`);
    return "200: new access token, refresh token rotated; an invented one: invalid_grant";
  });

  await step(8, async () => {
    const { request } = await exchange(laptop, (r, a) => to(`${service.inventory}/inventory`)(r) && bearerOf(r) === second.access_token, afterExpiry);
    must(request.method() === "GET", "the repeated request was another");
    return "GET /inventory repeated by itself with the new token";
  });

  await step(9, async () => {
    const { response } = await exchange(laptop, (r) => to(`${service.inventory}/inventory`)(r) && bearerOf(r) === second.access_token, afterExpiry);
    must(response.status() === 200, `the repeated request answered ${response.status()}`);
    await page.waitForFunction(() => document.querySelector("#answers li")?.classList.contains("good"), undefined, { timeout: DEADLINE });
    const shown = await page.textContent("#answers li .status");
    must(shown === "200", `the page showed ${shown}`);
    const lines = seenBy("inventory").slice(-2).map((line) => line.status);
    // A gateway that knows that the token is over does not let it through.
    const wanted = gateway === undefined ? ["401,200"] : ["401,200", "200,200"];
    must(wanted.includes(lines.join()), `the service saw ${lines}`);
    const refreshes = wire.slice(afterExpiry).filter(({ request }) => tokenCall("refresh_token")(request)).length;
    must(refreshes === 1, `${refreshes} refreshes`);
    await shot(laptop, "refreshed");
    return `the service saw ${lines.join(" then ")}; the page showed one answer, 200; one refresh`;
  });

  const phone = await device(browser, "phone");
  let onPhone;
  await step(10, async () => {
    await phone.page.goto(page_origin);
    await ready(phone);
    await phone.page.click("#sign-in");
    await signIn(phone, ana);
    onPhone = await (await exchange(phone, tokenCall("authorization_code"))).body;

    await page.click("[data-event=end]");
    await page.waitForFunction(() => /operator|operador/.test(document.querySelector("#sequence")?.textContent ?? ""), undefined, { timeout: DEADLINE });
    const within = await refusedEverywhere(second.access_token);
    mark = wire.length;
    await page.click("[data-call=inventory]");
    const refusal = await exchange(laptop, tokenCall("refresh_token"), mark);
    must(refusal.response.status() === 400, `the refresh answered ${refusal.response.status()}`);
    await page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
    await signIn(laptop, ana);
    must(new URL(page.url()).pathname === "/inventory", `came back to ${page.url()}`);
    // The page has left before the browser hands out the refusal's body: it is read off the diagram, which came along.
    const reason = (await page.innerText("#sequence")).match(/invalid_grant · \w+/)?.[0];
    must(reason === "invalid_grant · revoked", `the refusal said ${reason}`);
    return `token refused ${within} ms after the session ended; refresh refused (${reason}); sign-in; back at /inventory`;
  });

  let last;
  await step(11, async () => {
    mark = wire.length;
    await page.click("[data-call=orders]");
    last = bearerOf((await exchange(laptop, to(`${service.orders}/orders`), mark)).request);
    const before = (await laptop.context.request.get(`${service.orders}/orders`, { headers: { Authorization: `Bearer ${last}` } })).status();
    must(before === 200, `before sign-out the token answered ${before}`);
    await page.click("#sign-out");
    const within = await refusedEverywhere(last);
    await page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
    must(await page.isVisible("input[name=password]"), "the sign-in page asked for no password: the browser session lived on");
    const kept = await laptop.context.storageState();
    must(!JSON.stringify(kept.origins.filter((one) => one.origin === page_origin)).includes("prt1."), "a refresh token stayed in storage");
    return `token wiped; sign-in page asks for the password; old access token refused by all services ${within} ms later`;
  });

  await step(12, async () => {
    mark = phone.wire.length;
    await phone.page.click("[data-call=orders]");
    const { response } = await exchange(phone, to(`${service.orders}/orders`), mark);
    must(response.status() === 200, `the phone's call answered ${response.status()}`);
    await phone.page.click("[data-event=expire]");
    mark = phone.wire.length;
    await phone.page.click("[data-call=orders]");
    const renewed = await exchange(phone, tokenCall("refresh_token"), mark);
    must(renewed.response.status() === 200, `the phone's refresh answered ${renewed.response.status()}`);
    must(claimsOf(onPhone.access_token).sid !== claimsOf(first.access_token).sid, "both devices had one session");
    await shot(phone, "phone");
    return "the other device, with a session of its own, still calls and refreshes";
  });

  for (const one of [laptop, phone]) must(one.errors.length === 0, `the page threw: ${one.errors[0]}`);
} catch (error) {
  results.push(false);
  console.log(`check FAILED ${error.message}`);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(results.length >= 12 && results.every(Boolean) ? 0 : 1);
