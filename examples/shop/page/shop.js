/**
 * The shop: buttons that call three services through Portero's library, and a diagram of what that did on the wire.
 *
 * All of the OAuth is in the library; what is here is a page. It looks at the wire by standing in front of the global
 * `fetch`, which is also where the demo learns the access token that it shows decoded. A real page would not.
 */
import { createPortero as createBff } from "/portero/bff.js";
import { createPortero } from "/portero/portero.js";
import { insecureLocalStorage } from "/portero/storage.js";
import { Sequence } from "/sequence.js";
import { texts } from "/texts.js";

const $ = (id) => document.getElementById(id);
const config = await (await fetch("/config.json")).json();
const services = Object.entries(config.services);
/** Where the tokens are: `memory`, `local` or `cookie`. Chosen when the demo starts, or with the switch on the page. */
const store = sessionStorage.getItem("shop.store") ?? config.store;
const byCookie = store === "cookie";

let language = pickLanguage();
let accessToken; // shown decoded, and sent once more after sign-out to see it refused
let clockAhead = 0; // seconds the servers' clock is ahead of this one
let signingOut = false;
const refused = new Map(); // service → the token it refused last: a request with another one is the retry
const seen = new Set(JSON.parse(sessionStorage.getItem("shop.story") ?? "[]"));

const t = (key, ...args) => {
  const text = texts[language][key];
  return typeof text === "function" ? text(...args) : text;
};

const lanes = () => [
  { id: "browser", name: t("laneBrowser"), note: `:${location.port}` },
  ...(byCookie ? [{ id: "session", name: t("laneSession"), note: t("laneSessionNote") }] : []),
  { id: "server", name: t("laneServer"), note: `:${new URL(config.issuer).port}` },
  ...services.map(([id, service]) => ({ id, name: `${id} · ${service.framework}`, note: `:${new URL(service.url).port}` })),
];
const diagram = new Sequence($("sequence"), $("lanes"), lanes(), "shop.wire");

const plainFetch = globalThis.fetch.bind(globalThis);
globalThis.fetch = watchedFetch;
const asPage = () => ({
  issuer: config.issuer,
  clientId: config.clientId,
  redirectUri: `${location.origin}/callback`,
  scope: "openid profile orders:read orders:write inventory:read shipping:read",
  allowedOrigins: [...new Set(services.map(([, service]) => new URL(service.url).origin))],
});
const portero = {
  memory: () => createPortero(asPage()),
  local: () => createPortero({ ...asPage(), storage: insecureLocalStorage() }),
  cookie: () => createBff({ base: "/session" }),
}[store]();
let person = {};

// ── the wire ─────────────────────────────────────────────────────────────────────────

/** `fetch`, noticed: an arrow for the request and one for the answer. */
async function watchedFetch(input, init) {
  const request = new Request(input, init);
  const url = new URL(request.url);
  const lane = laneOf(url);
  if (lane === undefined || url.pathname.startsWith("/.well-known/")) return plainFetch(request);

  const bearer = request.headers.get("authorization")?.match(/^Bearer (.+)$/)?.[1];
  const form = url.pathname === "/token" ? await request.clone().text() : undefined;
  const grant = form === undefined ? undefined : grantOf(form);
  if (bearer !== undefined) accessToken = bearer;
  const retry = refused.has(lane) && refused.get(lane) !== bearer && !signingOut;
  const steps = signingOut ? [] : grant === "refresh_token" ? [6] : bearer !== undefined && lane !== "server" ? [retry ? 8 : 2] : [];
  arrow("browser", lane, `${request.method} ${url.pathname}`, "request", steps, lane === "session" ? t("cookieNote") : (grant ?? noteOf(bearer)));

  const started = performance.now();
  let response;
  try {
    // A body of a Request is a stream, which no developer tool shows: forms go out as text.
    response = await (form === undefined ? plainFetch(request) : plainFetch(new URL(request.url), { ...plain(request), body: form }));
  } catch (error) {
    arrow(lane, "browser", t("failed"), "bad", [], "");
    throw error;
  }
  const note = await reasonOf(response);
  arrow(lane, "browser", `${response.status} ${note || response.statusText}`.trim(), kindOf(response), stepsOf(lane, grant, response, retry),
    note ? "" : t("ok", Math.round(performance.now() - started)));
  if (lane !== "server" && response.status === 401) refused.set(lane, bearer);
  if (lane !== "server" && response.ok && retry) setTimeout(() => refused.delete(lane), 1000); // the retries of one burst
  if (grant !== undefined && response.ok) learn((await response.clone().json()).access_token);
  return response;
}

function laneOf(url) {
  if (url.origin === location.origin) return /^\/(api|session)(\/|$)/.test(url.pathname) ? "session" : undefined;
  if (url.origin === new URL(config.issuer).origin) return "server";
  return services.find(([, service]) => url.href.startsWith(`${service.url}/`))?.[0];
}

function plain({ method, headers, mode, credentials, cache, keepalive, signal }) {
  return { method, headers, mode, credentials, cache, keepalive, signal };
}

function grantOf(body) {
  return new URLSearchParams(body).get("grant_type") ?? undefined;
}

function noteOf(bearer) {
  if (bearer === undefined) return "";
  return `Bearer …${claimsOf(bearer)?.jti?.slice(-6) ?? ""}`;
}

async function reasonOf(response) {
  const challenge = response.headers.get("www-authenticate") ?? "";
  const described = challenge.match(/error_description="([^"]*)"/)?.[1] ?? challenge.match(/error="([^"]*)"/)?.[1];
  if (described) return described;
  if (response.ok || response.status === 401) return "";
  try {
    const body = await response.clone().json();
    return [body.error ?? body.title, body.error_reason].filter(Boolean).join(" · ");
  } catch {
    return "";
  }
}

function kindOf(response) {
  return response.ok ? "good" : response.status === 403 ? "warn" : "bad";
}

function stepsOf(lane, grant, response, retry) {
  if (signingOut) return lane !== "server" && response.status === 401 ? [11] : [];
  if (grant === "authorization_code") return response.ok ? [1] : [];
  if (grant === "refresh_token") return response.ok ? [7] : response.status === 400 ? [10] : [];
  if (lane === "server") return [];
  if (lane === "session") return !response.ok ? [] : response.url.endsWith("/session") ? [1] : [];
  if (response.status === 401) return [5];
  if (response.ok) return retry ? [9] : [3, 4];
  return response.status === 403 ? [3] : [];
}

function seenStep(...steps) {
  for (const step of steps) seen.add(step);
  sessionStorage.setItem("shop.story", JSON.stringify([...seen]));
}

function arrow(from, to, text, kind, steps, note) {
  seenStep(...steps);
  diagram.add({ from, to, text, kind, steps, note });
  renderStory();
}

// ── what the page does ───────────────────────────────────────────────────────────────

const url = (service, path) => (byCookie ? `/api${path}` : config.services[service].url + path);
/** What is known of this session: from its token, or from the server that keeps it. */
const mine = () => (byCookie ? portero.getTokenInfo()?.unverifiedClaims : claimsOf(accessToken));

const calls = {
  orders: () => visit("/", () => call("GET", "orders", "/orders")),
  inventory: () => visit("/inventory", () => call("GET", "inventory", "/inventory")),
  shipping: () => visit("/shipping", () => call("GET", "shipping", "/shipping")),
  six: () => Promise.all([0, 1].flatMap(() => services.map(([id]) => call("GET", id, `/${id}`)))),
  refund: () => call("POST", "orders", "/orders/1001/refund", { reason: "demo" }),
};

const events = {
  expire: async () => {
    await control("time");
    await readClock();
    arrow("browser", "browser", t("pass"), "warn", [], "");
  },
  end: async () => {
    const sid = mine()?.sid;
    if (sid === undefined) return;
    const [old, since] = [accessToken, performance.now()];
    await control("end", { sid });
    await reach(old, since);
    arrow("server", "server", t("endedElsewhere"), "warn", [], "");
    await countDevices();
  },
  everywhere: async () => {
    await control("everywhere", { username: person.preferred_username });
    arrow("server", "server", t("everywhereDone"), "warn", [], "");
  },
};

function visit(path, then) {
  if (location.pathname !== path) history.pushState(null, "", path);
  return then();
}

let known = {};
let looking = Promise.resolve();

/** By cookie the page sees one hop only: the others are drawn from what the servers noted. */
function lookBehind() {
  looking = looking.then(async () => {
    const { known: now, refreshes, services: calls } = await control("behind", known);
    known = now;
    if (refreshes > 0) {
      arrow("session", "server", "POST /token", "request", [6], "refresh_token");
      arrow("server", "session", "200 OK", "good", [7], "");
    }
    for (const { service, method, path, status } of calls.filter(({ path }) => path !== "/readyz")) {
      const good = status < 300;
      arrow("session", service, `${method} ${path}`, "request", [refreshes > 0 ? 8 : 2], "Bearer");
      arrow(service, "session", String(status), good ? "good" : status === 403 ? "warn" : "bad", good ? (refreshes > 0 ? [9] : [3, 4]) : status === 401 ? [5] : [3], "");
    }
  });
  return looking.catch(() => {});
}

async function call(method, service, path, body) {
  const started = performance.now();
  try {
    const response = await portero.fetch(url(service, path), {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    const answer = await response.json().catch(() => ({}));
    const took = Math.round(performance.now() - started);
    if (byCookie) await lookBehind();
    showAnswer(response.status, `${method} ${path}`, summary(answer), took);
  } catch (error) {
    showAnswer(0, `${method} ${path}`, t("refusedAs", error.code ?? error.name));
  }
}

function summary(answer) {
  if (answer.title) return [answer.title, answer.detail].filter(Boolean).join(": ");
  return JSON.stringify(answer);
}

async function control(name, body) {
  const response = await fetch(`/demo/${name}`, { method: "POST", headers: { "X-Demo": "1" }, body: JSON.stringify(body ?? {}) });
  if (!response.ok) throw new Error(`demo control ${name}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function countDevices() {
  const { ok } = await control("devices");
  const { sub, sid } = mine() ?? {};
  const others = Array.isArray(ok) ? ok.filter((one) => one.subject === sub && one.sid !== sid).length : 0;
  if (others > 0) arrow("server", "server", `${others} ×`, "good", [12], texts[language].story[11]);
}

async function readClock() {
  clockAhead = (await control("now")).now - Date.now() / 1000;
}

async function signOut() {
  const [old, since] = [accessToken, performance.now()];
  signingOut = true;
  await portero.signOut();
  await reach(old, since);
  learn(undefined);
  render();
  if (byCookie) {
    arrow("browser", "browser", t("probeCookie"), "warn", [], "");
    const answers = await Promise.all(services.map(([id]) => watchedFetch(`/api/${id}`, { headers: { "X-Portero": "1" } })));
    if (answers.every(({ status }) => status === 401)) seenStep(11);
  } else if (old !== undefined) {
    arrow("browser", "browser", t("probe"), "warn", [], "");
    await Promise.all(services.map(([id]) => watchedFetch(url(id, `/${id}`), { headers: { Authorization: `Bearer ${old}` } }).catch(() => {})));
  }
  accessToken = undefined;
  showAnswer(0, t("signOut"), t("signedOutNote"));
  setTimeout(() => signIn(), 2500);
}

/** Send a token whose session has ended to all services until each refuses it; show how long that took. */
async function reach(old, since) {
  if (byCookie || old === undefined) return;
  const found = await Promise.all(
    services.map(async ([id]) => {
      let status;
      do {
        status = (await plainFetch(url(id, `/${id}`), { headers: { Authorization: `Bearer ${old}` } }).catch(() => ({}))).status;
      } while (status !== 401 && performance.now() - since < 5000);
      return [id, status === 401 ? Math.round(performance.now() - since) : null];
    }),
  );
  sessionStorage.setItem("shop.reach", JSON.stringify(found));
  renderReach();
}

const signIn = () => portero.signIn({ returnTo: location.pathname });

// ── what the page shows ──────────────────────────────────────────────────────────────

function learn(token) {
  if (token !== undefined) accessToken = token;
  renderToken();
}

function claimsOf(token) {
  return decoded(token, 1);
}

function decoded(token, part) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[part].replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function showAnswer(status, title, body, ms) {
  const item = document.createElement("li");
  item.className = status >= 200 && status < 300 ? "good" : status === 403 || status === 0 ? "warn" : "bad";
  const parts = [
    ["status", status || "–"],
    ["what", ms === undefined ? title : `${title} · ${ms} ms`],
    ["body", body],
  ];
  for (const [name, text] of parts) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = String(text);
    item.append(part);
  }
  $("answers").prepend(item);
  while ($("answers").children.length > 30) $("answers").lastElementChild.remove();
  $("answers-none").hidden = true;
}

const signedIn = () => ["signed_in", "refreshing", "waiting"].includes(portero.state);

async function readPerson() {
  if (byCookie) {
    await portero.ready;
    person = mine() ?? {};
    return render();
  }
  if (!signedIn() || accessToken === undefined) return;
  const response = await plainFetch(`${config.issuer}/userinfo`, { headers: { Authorization: `Bearer ${accessToken}` } });
  if (response.ok) person = await response.json();
  render();
}

function render() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  const on = signedIn();
  $("who").textContent = on ? t("signedInAs", person.name ?? mine()?.sub ?? "") : t("signedOut");
  $("who").dataset.state = on ? "signed-in" : "signed-out";
  $("sign-in").hidden = on;
  $("sign-out").hidden = !on;
  for (const button of document.querySelectorAll("[data-event]")) button.disabled = !on;
  $("devices").href = `${config.issuer}/account?ui_locales=${language}`;
  $("language").value = language;
  $("store").value = store;
  $("token-none").textContent = t(byCookie ? "tokenOnServer" : "tokenNone");
  diagram.lanes = lanes();
  renderStory();
  renderReach();
  renderToken();
}

function renderStory() {
  const list = $("story");
  list.replaceChildren(
    ...texts[language].story.map((text, index) => {
      const item = document.createElement("li");
      item.textContent = text;
      item.classList.toggle("seen", seen.has(index + 1));
      return item;
    }),
  );
  $("story-count").textContent = `${seen.size} / 12`;
}

function renderReach() {
  const found = JSON.parse(sessionStorage.getItem("shop.reach") ?? "[]");
  const longest = Math.max(1, ...found.map(([, ms]) => ms ?? 0));
  $("reach-card").hidden = byCookie;
  $("reach-note").textContent = t(found.length === 0 ? "reachNone" : "reachNote");
  $("reach").replaceChildren(
    ...found.map(([id, ms]) => {
      const item = document.createElement("li");
      const parts = [["name", id], ["bar-of", ""], ["ms", ms === null ? "–" : `${ms} ms`]];
      item.append(...parts.map(([name, text]) => Object.assign(document.createElement("span"), { className: name, textContent: text })));
      item.children[1].style.width = `${(100 * (ms ?? 0)) / longest}%`;
      return item;
    }),
  );
}

function renderToken() {
  const shown = signedIn() && accessToken !== undefined;
  for (const id of ["claims", "raw"]) $(id).hidden = !shown;
  $("token-none").hidden = shown;
  $("left").textContent = "";
  $("meter").style.width = "0";
  if (!shown) return;
  const claims = claimsOf(accessToken);
  const left = Math.max(0, Math.round(claims.exp - (Date.now() / 1000 + clockAhead)));
  $("left").textContent = left === 0 ? t("expired") : t("secondsLeft", left);
  $("meter").style.width = `${Math.min(100, (100 * left) / (claims.exp - claims.iat))}%`;
  $("meter").classList.toggle("low", left < 60);
  const rows = ["sub", "sid", "jti", "aud", "scope", "roles", "acr"].filter((name) => claims[name] !== undefined);
  if ($("claims").dataset.jti !== claims.jti) {
    $("claims").dataset.jti = claims.jti;
    $("claims").replaceChildren(
      ...rows.flatMap((name) => {
        const term = document.createElement("dt");
        term.textContent = name;
        const value = document.createElement("dd");
        value.textContent = Array.isArray(claims[name]) ? claims[name].join(", ") : String(claims[name]);
        return [term, value];
      }),
    );
    $("raw-json").textContent = JSON.stringify({ header: decoded(accessToken, 0), claims }, null, 2);
  }
}

function pickLanguage() {
  const chosen = localStorage.getItem("shop.language") ?? navigator.language.slice(0, 2);
  return chosen in texts ? chosen : "en";
}

// ── start ────────────────────────────────────────────────────────────────────────────

for (const button of document.querySelectorAll("[data-call]")) button.addEventListener("click", () => calls[button.dataset.call]());
for (const button of document.querySelectorAll("[data-event]")) {
  button.addEventListener("click", () => events[button.dataset.event]().catch((error) => showAnswer(0, button.textContent, error.message)));
}
$("sign-in").addEventListener("click", signIn);
$("sign-out").addEventListener("click", signOut);
$("clear").addEventListener("click", () => diagram.clear());
$("language").addEventListener("change", (event) => {
  language = event.target.value;
  localStorage.setItem("shop.language", language);
  render();
});

$("store").addEventListener("change", async ({ target }) => {
  // Changing from one to another signs out first: a cookie and a token never go together.
  const { value } = target;
  signingOut = true;
  await portero.signOut();
  sessionStorage.setItem("shop.store", value);
  location.assign("/");
});

portero.onChange(render);
portero.onEvent((event) => {
  console.debug(event.type, event.step ?? event.cause ?? "", event.reason);
  if (event.type === "step" && event.step === "sign_in.navigate") arrow("browser", "server", t("signInStarts"), "request", [], "code + PKCE");
});

render();
if (location.pathname === "/callback") {
  arrow("server", "browser", "302", "good", [], t("signInReturns"));
  try {
    const { returnTo } = (await portero.handleCallback()) ?? { returnTo: "/" };
    history.replaceState(null, "", returnTo);
    if (location.pathname !== "/") arrow("browser", "browser", t("back"), "good", [], location.pathname);
  } catch (error) {
    history.replaceState(null, "", "/");
    showAnswer(0, t("signIn"), t("refusedAs", error.code ?? error.name));
  }
}
await readClock();
await readPerson();
if (byCookie) await lookBehind();
render();
setInterval(renderToken, 500);
document.documentElement.dataset.ready = "yes";
