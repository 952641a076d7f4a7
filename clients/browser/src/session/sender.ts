/** `fetch` with a token: who gets it, what a 401 means, what may be repeated. */
import { NotReplayableError, StepUpRequiredError } from "../errors.ts";
import { tokenChallenge, type Challenge } from "../protocol/challenge.ts";
import type { Core } from "./core.ts";
import type { Refresher } from "./refresher.ts";
import { replayable, type FetchInit } from "./replay.ts";
import type { Tokens } from "./tokens.ts";

/** Addresses whose 401 a refresh did not cure; the oldest is forgotten beyond this many. */
const UNCURED_LIMIT = 100;

export class Sender {
  readonly #core: Core;
  readonly #refresher: Refresher;
  readonly #origins: ReadonlySet<string>;
  readonly #uncured = new Map<string, { readonly count: number; readonly token: string }>();

  constructor(core: Core, refresher: Refresher) {
    this.#core = core;
    this.#refresher = refresher;
    const { allowedOrigins = [core.environment.href()] } = core.config;
    // Parsed, never compared as text: `https://api.x` is no prefix of `https://api.x.evil.tld`.
    this.#origins = new Set(allowedOrigins.map((origin) => new URL(origin).origin));
  }

  /** `begun`: what has to end first, such as the exchange of a code. */
  async fetch(input: RequestInfo | URL, init: FetchInit | undefined, begun: Iterable<Promise<unknown>>): Promise<Response> {
    const core = this.#core;
    // Before anything is awaited: what the caller does to his bytes afterwards is not ours to send.
    const replay = replayable(input, init);
    const { request } = replay;
    const address = new URL(request.url);
    // Not for this address, or the caller brought a credential of his own: then it is none of our business.
    if (!this.#origins.has(address.origin) || request.headers.has("authorization")) return fetch(replay.attempt());

    await Promise.allSettled(begun);
    const over = core.era.signal;
    const signal = AbortSignal.any([request.signal, over]);
    const first = await this.#refresher.usable(signal);
    const response = await this.#send(replay.attempt(), first, signal);
    if (response.status !== 401) return this.#settled(address, response);

    const challenge = tokenChallenge(response.headers.get("www-authenticate"));
    const error = challenge?.parameters["error"];
    core.step("request.unauthorized", error ?? "no error named", request.url);
    if (error === "insufficient_user_authentication") throw stepUp(challenge!);
    let tokens = first;
    if (error === "use_dpop_nonce") {
      if (!core.config.proofs?.learn(response, request.url)) return response;
    } else {
      // RFC 6750 §3.1: only `invalid_token` (or nothing said) is cured by another token.
      if (error !== undefined && error !== "invalid_token") return response;
      const late = core.tokens && core.tokens.accessToken !== first.accessToken;
      const uncured = this.#uncured.get(address.href);
      if (!late && uncured && uncured.count >= 2 && uncured.token === first.accessToken) {
        core.step("request.not_cured", "two refreshes did not help", request.url);
        return response;
      }
      tokens = await this.#refresher.replace(first, "unauthorized", signal);
    }
    if (replay.oneShot) throw new NotReplayableError(response);
    // Without a challenge nobody knows whether the handler ran: then only what is safe to repeat is repeated.
    if (!challenge && !core.config.replayUnsafe && !/^(GET|HEAD|OPTIONS)$/.test(request.method)) return response;
    core.step("request.retried", error ?? "no error named", request.url);
    const second = await this.#send(replay.attempt(), tokens, signal);
    if (second.status === 401 && tokens !== first) this.#notCured(address, first, tokens);
    return this.#settled(address, second);
  }

  async #send(request: Request, tokens: Tokens, signal: AbortSignal): Promise<Response> {
    const { proofs } = this.#core.config;
    const attempt = new Request(request, { signal });
    const { accessToken } = tokens;
    attempt.headers.set("Authorization", `${proofs ? "DPoP" : "Bearer"} ${accessToken}`);
    if (proofs) attempt.headers.set("DPoP", await proofs.proof({ method: attempt.method, url: attempt.url, accessToken }));
    const response = await fetch(attempt);
    if (response.status !== 401) proofs?.learn(response, attempt.url);
    return response;
  }

  #settled(address: URL, response: Response): Response {
    if (response.status !== 401) this.#uncured.delete(address.href);
    return response;
  }

  #notCured(address: URL, before: Tokens, after: Tokens): void {
    const last = this.#uncured.get(address.href);
    const count = last?.token === before.accessToken ? last.count + 1 : 1;
    this.#uncured.delete(address.href);
    this.#uncured.set(address.href, { count, token: after.accessToken });
    if (this.#uncured.size > UNCURED_LIMIT) this.#uncured.delete(this.#uncured.keys().next().value!);
  }
}

function stepUp({ parameters }: Challenge): StepUpRequiredError {
  const maxAge = Number(parameters["max_age"]);
  return new StepUpRequiredError(parameters["acr_values"], parameters["max_age"] && maxAge >= 0 ? maxAge : undefined);
}
