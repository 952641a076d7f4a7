/**
 * The twelve steps of the story in headless Chromium, against the running demo.
 *
 * Prints `step N ok|FAILED what was seen` for each, and exits with 1 if any failed. A step is proven by what was on the
 * wire (Chromium's own network events) and by what the services saw (their `.seen` files), not by what the page says.
 */
import {
  shop, issuer, page_origin, direct, gateway, service, frameworks, ana, DEADLINE, step, must, seenBy,
  claimsOf, bearerOf, device, shot, ready, signIn, exchange, refusedEverywhere, to, tokenCall, walk,
} from "./checking.mjs";

await walk(async () => {
  const laptop = await device("laptop");
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
    if (shop.login === "afip") {
      const { cuit, represented_cuit: represented } = claimsOf(first.access_token);
      must(cuit === "20111111112" && /^30[0-9]{9}$/.test(represented), `the token names ${cuit} for ${represented}`);
    }
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

  const phone = await device("phone");
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
    const reached = await page.locator("#reach .ms").allInnerTexts();
    must(reached.length === 3 && reached.every((text) => /^\d+ ms$/.test(text)), `the page shows how fast it reached: ${reached}`);
    await shot(laptop, "reached");
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
});
