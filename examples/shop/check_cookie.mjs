/**
 * The twelve steps with the tokens on the server (`STORE=cookie`), in headless Chromium against the running demo.
 *
 * What a page cannot see a check of it cannot see either: that is the point of this mode. So the wire of the browser shows
 * the cookie and no token, the services' `.seen` files show the token behind it, and the authorization server's log shows the
 * refresh. What a service says to an expired token is asked with a token of a second device, which keeps its own in memory.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  ana, bearerOf, claimsOf, DEADLINE, device, exchange, frameworks, issuer, must, page_origin, ready, refusedEverywhere, seenBy,
  service, shop, shot, signIn, step, to, tokenCall, walk,
} from "./checking.mjs";

const COOKIE = /^(__Host-)?portero.*-session$/;
const api = (path) => `${page_origin}/api${path}`;
const sessionCookie = async (one) => (await one.context.cookies(page_origin)).find(({ name }) => COOKIE.test(name));
const answered = (one, url, from, method) => exchange(one, to(url, method), from);

/** Lines of the server's log with this event of our client, so far. */
const logged = (event) =>
  readFileSync(join(shop.folder, "authorization.log"), "utf8").split("\n").filter((line) => line.includes(`"${event}"`) && line.includes('"shop-web"')).length;

async function loggedMore(event, before) {
  const deadline = Date.now() + DEADLINE;
  while (logged(event) <= before) {
    must(Date.now() < deadline, `the server logged no ${event}`);
    await new Promise((resume) => setTimeout(resume, 25));
  }
  return logged(event) - before;
}

await walk(async () => {
  const laptop = await device("laptop");
  const { page, wire } = laptop;
  await page.goto(page_origin);
  await ready(laptop);
  // One more device, which keeps its token in memory: its token stands for those that nobody here can see.
  const probe = await device("probe");
  await probe.context.addInitScript(() => sessionStorage.setItem("shop.store", "memory"));
  await probe.page.goto(page_origin);
  await ready(probe);
  await probe.page.click("#sign-in");
  await signIn(probe, ana);
  const token = (await (await exchange(probe, tokenCall("authorization_code"))).body).access_token;
  let mark, refreshes;

  await step(1, async () => {
    await page.click("#sign-in");
    await page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
    await signIn(laptop, ana);
    await page.waitForSelector("#who[data-state=signed-in]", { timeout: DEADLINE });
    const cookie = await sessionCookie(laptop);
    must(cookie?.httpOnly && cookie.sameSite === "Strict", `the cookie is ${JSON.stringify(cookie)}`);
    must(!page.url().includes("code="), "the code stayed in the address bar");
    must(!wire.some(({ request }) => tokenCall("authorization_code")(request)), "the page itself exchanged the code");
    return `code + PKCE at ${issuer}; the server keeps both tokens, the browser got a cookie: HttpOnly, SameSite=Strict`;
  });

  await step(2, async () => {
    mark = wire.length;
    await page.click("[data-call=orders]");
    const { request } = await answered(laptop, api("/orders"), mark);
    const headers = await request.allHeaders();
    must(bearerOf(request) === undefined, "the page sent a token");
    must(headers["x-portero"] === "1" && headers.cookie?.includes((await sessionCookie(laptop)).value), "no cookie, or no custom header");
    must(seenBy("orders").some((line) => line.path === "/orders" && line.bearer), "the service saw no bearer");
    const said = [...(await Promise.all(wire.map(({ body }) => body))).map((body) => JSON.stringify(body) ?? ""), JSON.stringify(await laptop.context.storageState())];
    must(!said.some((text) => /eyJ|prt1\./.test(text)), "a token reached the browser");
    return "GET /api/orders carried the cookie and the custom header; the service saw Authorization: Bearer; no token reached the browser";
  });

  await step(3, async () => {
    const [header, payload, signature] = token.split(".");
    const forged = Buffer.from(JSON.stringify({ ...claimsOf(token), sub: "root" })).toString("base64url");
    const status = async (given, name) =>
      (await laptop.context.request.get(`${service[name]}/${name}`, { headers: { Authorization: `Bearer ${given}` } })).status();
    for (const name of Object.keys(service)) {
      must((await status(`${header}.${forged}.${signature}`, name)) === 401, `${name} did not refuse a forged token`);
      must((await status(`${header}.${payload}.${"A".repeat(signature.length)}`, name)) === 401, `${name} did not refuse a made-up signature`);
    }
    const { value, name } = await sessionCookie(laptop);
    const both = await fetch(api("/orders"), { headers: { Cookie: `${name}=${value}`, "X-Portero": "1", Origin: page_origin, Authorization: `Bearer ${token}` } });
    must(both.status === 400, `a cookie and a token answered ${both.status}`);
    const foreign = await fetch(api("/orders"), { headers: { Cookie: `${name}=${value}`, "X-Portero": "1", Origin: "http://evil.example" } });
    must(foreign.status === 403, `another origin answered ${foreign.status}`);
    mark = wire.length;
    refreshes = logged("refresh_rotated");
    await page.click("[data-call=refund]");
    const { response } = await answered(laptop, api("/orders/1001/refund"), mark, "POST");
    must(response.status() === 403, `a missing role answered ${response.status()}`);
    must(logged("refresh_rotated") === refreshes, "a 403 caused a refresh");
    return "forged claims and made-up signature: 401 at every service; cookie and token together 400; another origin 403; role missing 403";
  });

  await step(4, async () => {
    for (const name of Object.keys(service)) {
      mark = wire.length;
      await page.click(`[data-call=${name}]`);
      const { response, body } = await answered(laptop, api(`/${name}`), mark);
      const caller = (await body)?.caller;
      must(response.status() === 200 && caller === claimsOf(token).sub, `${name} answered ${response.status()} to ${caller}`);
    }
    await shot(laptop, "cookie-signed-in");
    return `${Object.entries(frameworks).map(([name, framework]) => `${name} (${framework})`).join(", ")} answered 200 and named the caller`;
  });

  await step(5, async () => {
    refreshes = logged("refresh_rotated");
    await page.click("[data-event=expire]");
    await page.waitForFunction(() => /six minutes pass|pasan seis minutos/.test(document.querySelector("#sequence")?.textContent ?? ""), undefined, { timeout: DEADLINE });
    const refused = await fetch(`${service.inventory}/inventory`, { headers: { Authorization: `Bearer ${token}` } });
    const challenge = refused.headers.get("www-authenticate") ?? "";
    must(refused.status === 401 && /error="invalid_token"/.test(challenge) && /expired/.test(challenge), `${refused.status} ${challenge}`);
    return `a token of the same age: 401, ${challenge}`;
  });

  let renewed;
  await step(6, async () => {
    mark = wire.length;
    const before = seenBy("inventory").length;
    await page.click("[data-call=inventory]");
    renewed = await answered(laptop, api("/inventory"), mark);
    await loggedMore("refresh_rotated", refreshes);
    renewed.lines = seenBy("inventory").slice(before);
    return "the browser session sent its refresh token; nothing of that was on the browser's wire";
  });

  await step(7, async () => {
    const count = logged("refresh_rotated") - refreshes;
    must(count === 1, `${count} refreshes`);
    const invented = await fetch(`${issuer}/token`, {
      method: "POST",
      body: new URLSearchParams({ grant_type: "refresh_token", refresh_token: "prt1.AAAA.AAAA", client_id: "shop-page", refresh_attempt: "A".repeat(22) }),
    });
    must(invented.status === 400 && (await invented.json()).error === "invalid_grant", `an invented token answered ${invented.status}`);
    return "the server rotated it, once; an invented one: invalid_grant";
  });

  await step(8, async () => {
    must(renewed.lines.at(-1)?.bearer && renewed.lines.at(-1).path === "/inventory", `the service saw ${JSON.stringify(renewed.lines)}`);
    return "GET /inventory reached the service with the new token";
  });

  await step(9, async () => {
    must(renewed.response.status() === 200, `the call answered ${renewed.response.status()}`);
    await page.waitForFunction(() => document.querySelector("#answers li .status")?.textContent === "200", undefined, { timeout: DEADLINE });
    await shot(laptop, "cookie-refreshed");
    return "the page showed one answer, 200; it noticed nothing";
  });

  const phone = await device("phone");
  await step(10, async () => {
    await phone.page.goto(page_origin);
    await ready(phone);
    await phone.page.click("#sign-in");
    await signIn(phone, ana);
    await phone.page.waitForSelector("#who[data-state=signed-in]", { timeout: DEADLINE });

    await page.click("[data-event=end]");
    await page.waitForFunction(() => /operator|operador/.test(document.querySelector("#sequence")?.textContent ?? ""), undefined, { timeout: DEADLINE });
    await page.click("[data-call=inventory]");
    await page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
    await signIn(laptop, ana);
    await page.waitForSelector("#who[data-state=signed-in]", { timeout: DEADLINE });
    must(new URL(page.url()).pathname === "/inventory", `came back to ${page.url()}`);
    return "the session ended at the server; the next call led to the sign-in; back at /inventory";
  });

  await step(11, async () => {
    const { name, value } = await sessionCookie(laptop);
    const ended = logged("session_ended");
    await page.click("#sign-out");
    await page.waitForURL((url) => url.origin === issuer, { timeout: DEADLINE });
    must(await page.isVisible("input[name=password]"), "the sign-in page asked for no password: the browser session lived on");
    await loggedMore("session_ended", ended);
    must((await sessionCookie(laptop)) === undefined, "the cookie stayed");
    const old = await fetch(api("/orders"), { headers: { Cookie: `${name}=${value}`, "X-Portero": "1", Origin: page_origin } });
    must(old.status === 401, `the old cookie answered ${old.status}`);
    // The probe's own session: its token, which we do know, stops everywhere.
    await probe.page.click("[data-call=orders]");
    const last = bearerOf((await exchange(probe, (r, a) => to(`${service.orders}/orders`)(r) && a.status() === 200)).request);
    await probe.page.click("#sign-out");
    const within = await refusedEverywhere(last);
    return `cookie gone, the old one opens nothing, the server ended the session; a token of a signed-out device refused everywhere ${within} ms later`;
  });

  await step(12, async () => {
    mark = phone.wire.length;
    await phone.page.click("[data-call=orders]");
    must((await answered(phone, api("/orders"), mark)).response.status() === 200, "the phone's call was refused");
    refreshes = logged("refresh_rotated");
    await phone.page.click("[data-event=expire]");
    await phone.page.waitForFunction(() => /six minutes pass|pasan seis minutos/.test(document.querySelector("#sequence")?.textContent ?? ""), undefined, { timeout: DEADLINE });
    mark = phone.wire.length;
    await phone.page.click("[data-call=orders]");
    must((await answered(phone, api("/orders"), mark)).response.status() === 200, "the phone's call after expiry was refused");
    await loggedMore("refresh_rotated", refreshes);
    await shot(phone, "cookie-phone");
    return "the other device, with a session of its own, still calls and refreshes";
  });

  for (const one of [laptop, phone, probe]) must(one.errors.length === 0, `the page threw: ${one.errors[0]}`);
});
