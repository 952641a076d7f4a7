/**
 * `node measure.mjs SECONDS`: in Chromium, what `portero.fetch` adds to a request with nothing to do, and how often ten tabs
 * refresh. The authorization server is the least that can be one: it grants everything to everybody at once.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const library = fileURLToPath(new URL("../../../clients/browser/", import.meta.url));
const { chromium } = createRequire(`${library}package.json`)("playwright-core");
const SECONDS = Number(process.argv[2]);
const LIFE = 20;
const ROUNDS = 25;
const CALLS = 2000;

let life = 3600;
let tokens = 0;
let refreshes = 0;
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://app");
  const json = (document) => response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(document));
  if (url.pathname.startsWith("/dist/")) {
    response.writeHead(200, { "Content-Type": "text/javascript" }).end(readFileSync(library + url.pathname.slice(1)));
  } else if (url.pathname === "/.well-known/openid-configuration") {
    json({ issuer: origin, authorization_endpoint: `${origin}/authorize`, token_endpoint: `${origin}/token` });
  } else if (url.pathname === "/authorize") {
    const { redirect_uri: back, state } = Object.fromEntries(url.searchParams);
    response.writeHead(302, { Location: `${back}?code=code&state=${state}` }).end();
  } else if (url.pathname === "/token") {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      if (body.includes("grant_type=refresh_token")) refreshes++;
      json({ access_token: `access-${++tokens}`, token_type: "Bearer", expires_in: life, refresh_token: `refresh-${tokens}` });
    });
  } else if (url.pathname === "/api") {
    response.writeHead(204).end();
  } else {
    response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>bench</title>");
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({
  executablePath: process.env.PORTERO_CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function open(context) {
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  await page.evaluate(async (issuer) => {
    const { createPortero } = await import("/dist/portero.js");
    const { insecureLocalStorage } = await import("/dist/storage.js");
    window.make = () => (window.portero = createPortero({ issuer, clientId: "bench", redirectUri: `${issuer}/callback`, scope: "read", storage: insecureLocalStorage() }));
    window.make();
  }, origin);
  return page;
}

async function signedIn(context) {
  const page = await open(context);
  await Promise.all([page.waitForURL(/callback/), page.evaluate(() => void window.portero.signIn({ returnTo: "/" }))]);
  await page.evaluate(async (issuer) => {
    const { createPortero } = await import("/dist/portero.js");
    const { insecureLocalStorage } = await import("/dist/storage.js");
    window.portero = createPortero({ issuer, clientId: "bench", redirectUri: `${issuer}/callback`, scope: "read", storage: insecureLocalStorage() });
    await window.portero.handleCallback();
  }, origin);
  return page;
}

try {
  const quick = await browser.newContext();
  const page = await signedIn(quick);
  const { plain, added } = await page.evaluate(
    async ([rounds, calls]) => {
      // The answer is at hand: what remains is the library.
      window.fetch = async () => new Response(null, { status: 204 });
      const timed = async (call) => {
        const started = performance.now();
        for (let n = 0; n < calls; n++) await call();
        return ((performance.now() - started) * 1000) / calls;
      };
      const median = (samples) => samples.toSorted((a, b) => a - b)[samples.length >> 1];
      const plain = [];
      const ours = [];
      for (let round = 0; round < rounds; round++) {
        plain.push(await timed(() => window.fetch(new Request("/api", { headers: { Authorization: "Bearer access-1" } }))));
        ours.push(await timed(() => window.portero.fetch("/api")));
      }
      return { plain: median(plain.slice(5)), added: median(ours.slice(5)) - median(plain.slice(5)) };
    },
    [ROUNDS, CALLS],
  );
  await quick.close();

  life = LIFE;
  const shared = await browser.newContext();
  const first = await signedIn(shared);
  const tabs = [first, ...(await Promise.all(Array.from({ length: 9 }, () => open(shared))))];
  refreshes = 0;
  const failures = await Promise.all(
    tabs.map((tab) =>
      tab.evaluate(async (seconds) => {
        const until = performance.now() + seconds * 1000;
        let failed = 0;
        while (performance.now() < until) {
          await window.portero.fetch("/api").catch(() => failed++);
          await new Promise((resume) => setTimeout(resume, 200 + 200 * Math.random()));
        }
        return failed;
      }, SECONDS),
    ),
  );
  console.log(
    JSON.stringify({
      chromium: `Chromium ${browser.version()}`,
      plain_us: plain,
      added_us: added,
      tabs: tabs.length,
      seconds: SECONDS,
      token_seconds: LIFE,
      // A token is used for nine tenths of its life where that is short, and at most once more at the end.
      cycles: SECONDS / (LIFE * 0.9),
      refreshes,
      failed_calls: failures.reduce((sum, one) => sum + one, 0),
    }),
  );
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
