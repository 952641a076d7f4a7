/** The way to the authorization server and back. Loaded when it is needed: a page that is signed in never does. */
import type { ErrorCode } from "../errors.ts";
import { authorizationFields, authorizationUrl, processAuthorizationResponse } from "../protocol/authorization.ts";
import { decodeBase64url, encodeBase64url, randomText } from "../protocol/base64url.ts";
import { codeRequest } from "../protocol/code.ts";
import type { ServerMetadata } from "../protocol/metadata.ts";
import type { Grant } from "../protocol/token.ts";
import type { Core } from "./core.ts";
import { pageLogins, pageRedirects, type KeptRequest, type Login } from "./logins.ts";
import { safeReturnTo } from "./return-to.ts";
import type { SignInOptions } from "./session.ts";
import { unverifiedClaims, wall } from "./tokens.ts";

/** Makes the error. Handed in, so that there is one class of errors and this part stays a file of its own. */
export type Fail = (code: ErrorCode, reason: string) => Error;

/**
 * A way to a code without leaving the page: gets the authorization request, and returns the code. Undefined: the
 * sign-in page has to ask.
 */
export type By = (core: Core, fail: Fail, request: readonly [string, string][]) => Promise<string | undefined>;

/** How one comes back. */
export interface Returned {
  readonly returnTo: string;
  /** What needed the step-up. It was refused before anything was done; hand it to `fetch`. */
  readonly request?: Request;
}

export type LeaveOptions = SignInOptions & { readonly request?: Request | undefined };

/** Bytes. */
const LARGEST_KEPT = 65_536;
const LOOP_WINDOW_MS = 60_000;
const ANSWER = ["code", "state", "iss", "error", "error_description", "error_uri", "session_state"];

/** Leave for the sign-in page. `automatic`: nobody asked for it, so it might be a loop. */
export async function leave(core: Core, fail: Fail, { returnTo, request, by, ...options }: LeaveOptions, automatic?: boolean): Promise<void> {
  const { config, environment } = core;
  if (by && (await stay(core, fail, by, options))) return;
  if (automatic) await countAutomatic(core, fail);
  const base = environment.href();
  const login: Login = {
    state: randomText(16),
    codeVerifier: randomText(32),
    nonce: randomText(16),
    returnTo: safeReturnTo(returnTo ?? base, base, config.defaultReturnTo),
    redirectUri: config.redirectUri,
    at: wall(),
    request: config.keepRequestOverStepUp ? await kept(request) : undefined,
  };
  const url = await authorizationUrl(await core.metadata(), { ...options, ...login, ...(await asked(core, login.nonce)) });
  await (environment.logins ?? pageLogins).put(core.prefix, login);
  core.step("sign_in.navigate", "redirect", url);
  environment.navigate(url);
}

/** What every authorization request of this application asks for. */
async function asked({ config, transport }: Core, nonce: string) {
  return {
    clientId: config.clientId,
    scope: config.scope,
    nonce: /\bopenid\b/.test(config.scope ?? "") ? nonce : undefined,
    resources: config.resources,
    dpopJkt: await transport.thumbprint?.(),
  };
}

/** Sign in without leaving; false: it cannot be done here. */
async function stay(core: Core, fail: Fail, by: By, options: SignInOptions): Promise<boolean> {
  const { era, tokens } = core;
  const kept = { codeVerifier: randomText(32), nonce: randomText(16) };
  const code = await by(core, fail, await authorizationFields({ ...options, ...kept, ...(await asked(core, kept.nonce)) }));
  if (code === undefined) return false;
  await begin(core, era, "direct", () => redeem(core, fail, code, kept));
  // No cookie joins the two sign-ins: this one is a device of its own, and the one before is over.
  void core.revoke(tokens?.refresh_token);
  return true;
}

/** Count an automatic redirect of this tab; the third within a minute is a loop. */
export async function countAutomatic({ environment, prefix }: Pick<Core, "environment" | "prefix">, fail: Fail): Promise<void> {
  const now = wall();
  const times = await (environment.redirects ?? pageRedirects)(`${prefix}automatic`, now);
  if (times.filter((at) => Math.abs(now - at) < LOOP_WINDOW_MS).length > 2) throw fail("login_loop", "three automatic redirects within a minute");
}

/** Turn the answer in this address into tokens. */
export async function exchange(core: Core, fail: Fail, url: URL): Promise<Returned> {
  const { config, environment, era } = core;
  const login = await (environment.logins ?? pageLogins).take(core.prefix, url.searchParams.get("state")!);
  // First of all: out of the address bar, so that no reload, no bookmark and no Referer repeats the code.
  const clean = new URL(url);
  for (const name of ANSWER) clean.searchParams.delete(name);
  environment.replaceUrl(clean.href);
  if (!login) {
    if (core.tokens) return { returnTo: safeReturnTo(undefined, url.href, config.defaultReturnTo) };
    throw fail("login_attempt_unknown", "not started here, or already used");
  }
  core.transition("sign_in", "callback");
  await begin(core, era, "callback", async () => redeem(core, fail, answered(await core.metadata(), fail, url), login));
  return { returnTo: login.returnTo, ...(login.request ? { request: unkept(login.request) } : {}) };
}

/** Turn what was granted into the session of this page, and tell the other tabs. */
async function begin(core: Core, { signal }: AbortController, reason: string, granted: () => Promise<Grant>): Promise<void> {
  const sentAt = wall();
  const grant = await granted();
  if (signal.aborted) {
    core.drop(grant.refresh_token);
    throw signal.reason as Error;
  }
  const before = core.tokens?.sub;
  const { sub } = core.keep(grant, randomText(16), sentAt);
  core.transition("code_exchanged", before !== undefined && before !== sub ? "another user" : reason);
  core.tell({ kind: "signed_in", sub });
}

/** A stream that was sent is gone, and a large body is not worth the storage. */
async function kept(request: Request | undefined): Promise<KeptRequest | undefined> {
  if (!request || request.bodyUsed) return undefined;
  const bytes = new Uint8Array(await request.clone().arrayBuffer());
  if (bytes.length > LARGEST_KEPT) return undefined;
  const { url, method, headers, body } = request;
  return { url, method, headers: [...headers], body: body && encodeBase64url(bytes) };
}

function unkept({ url, method, headers, body }: KeptRequest): Request {
  return new Request(url, { method, headers: headers as [string, string][], body: body === null ? null : decodeBase64url(body) });
}

function answered(metadata: ServerMetadata, fail: Fail, url: URL): string {
  const answer = processAuthorizationResponse(metadata, url);
  if (answer.kind === "issuer_mismatch") throw fail(answer.kind, "another server answered");
  if (answer.kind === "authorization_refused") throw fail(answer.kind, answer.error);
  return answer.code;
}

type Kept = Pick<Login, "codeVerifier" | "nonce"> & { readonly redirectUri?: string };

async function redeem(core: Core, fail: Fail, code: string, { codeVerifier, redirectUri, nonce }: Kept): Promise<Grant> {
  const { clientId, issuer } = core.config;
  const outcome = await core.ask("code.sent", (metadata) => codeRequest(metadata, { clientId, code, codeVerifier, redirectUri }));
  if (outcome.kind !== "granted") throw fail(outcome.kind === "refused" ? "code_refused" : "token_endpoint_unavailable", outcome.reason);
  const claims = unverifiedClaims(outcome.grant.id_token);
  // OpenID Connect Core §3.1.3.7: the ID token came over TLS from the server itself, so its signature need not be
  // verified; who it is from, for, and which sign-in it answers must be.
  if (claims && (claims["iss"] !== issuer || ![claims["aud"]].flat().includes(clientId) || claims["nonce"] !== nonce)) {
    throw fail("id_token_invalid", "not the answer to this sign-in");
  }
  return outcome.grant;
}

/** End the sign-in at the server too, and come back. No `id_token_hint`: a token has no business in an address. */
export async function endSession(core: Core, returnTo: string | undefined): Promise<void> {
  const { config, environment } = core;
  const back = safeReturnTo(returnTo, environment.href(), config.defaultReturnTo);
  const end = await core.metadata().then(
    (metadata) => metadata.end_session_endpoint,
    () => undefined,
  );
  const query = new URLSearchParams({ client_id: config.clientId, post_logout_redirect_uri: back });
  core.step("sign_out.navigate", "user", end);
  environment.navigate(end ? `${end}?${query.toString()}` : back);
}
