/** `fetch` with a token: who gets it, what a 401 means, what may be repeated. */
import { PorteroError } from "../errors.ts";
import { tokenChallenge } from "../protocol/challenge.ts";
import type { Core } from "./core.ts";
import type { Refresher } from "./refresher.ts";
import { replayable, type FetchInit } from "./replay.ts";
import type { Tokens } from "./tokens.ts";

/** Addresses whose 401 a refresh did not cure; the oldest is forgotten beyond this many. */
const UNCURED_LIMIT = 100;

/** `begun`: what has to end before anything is sent, such as the exchange of a code. */
export type Send = (input: RequestInfo | URL, init: FetchInit | undefined, begun: Iterable<Promise<unknown>>) => Promise<Response>;

export function senderOf(core: Core, refresher: Refresher): Send {
  const { config, environment, transport } = core;
  const { allowedOrigins = [environment.href()] } = config;
  // Parsed, never compared as text: `https://api.x` is no prefix of `https://api.x.evil.tld`.
  const origins = new Set(allowedOrigins.map((origin) => new URL(origin).origin));
  const uncured = new Map<string, { readonly count: number; readonly token: string }>();

  return async (input, init, begun) => {
    // Before anything is awaited: what the caller does to his bytes afterwards is not ours to send.
    const replay = replayable(input, init);
    const { request } = replay;
    const { origin, href } = new URL(request.url);
    // Not for this address, or the caller brought a credential of his own: then it is none of our business.
    if (!origins.has(origin) || request.headers.has("authorization")) return fetch(replay.attempt());

    await Promise.allSettled(begun);
    const signal = AbortSignal.any([request.signal, core.era.signal]);
    const first = await refresher.usable(signal);
    const response = await send(replay.attempt(), first, signal);
    if (response.status !== 401) return response;

    const challenge = tokenChallenge(response.headers.get("www-authenticate"));
    const { error, acr_values: acrValues, max_age: maxAge } = challenge?.parameters ?? {};
    const said = error ?? "none";
    core.step("request.unauthorized", said, href);
    if (error === "insufficient_user_authentication") {
      throw new PorteroError("step_up_required", error, { acrValues, maxAge, request: replay.attempt() });
    }
    // RFC 6750 §3.1: only `invalid_token` (or nothing said) is cured by another token.
    if (error !== undefined && error !== "invalid_token") return response;
    const { access_token: sent } = first;
    const hopeless = uncured.get(href);
    if (hopeless?.token === sent && hopeless.count > 1 && core.tokens?.access_token === sent) {
      core.step("request.not_cured", said, href);
      return response;
    }
    const tokens = await refresher.replace(first, "unauthorized", signal);
    if (replay.oneShot) throw new PorteroError("not_replayable", "stream", { response });
    // Without a challenge nobody knows whether the handler ran: then only what is safe to repeat is repeated.
    if (!challenge && !config.replayUnsafe && !/^(GET|HEAD|OPTIONS)$/.test(request.method)) return response;
    core.step("request.retried", said, href);
    const second = await send(replay.attempt(), tokens, signal);
    uncured.delete(href);
    if (second.status === 401) {
      uncured.set(href, { count: hopeless?.token === sent ? hopeless.count + 1 : 1, token: tokens.access_token });
      if (uncured.size > UNCURED_LIMIT) uncured.delete(uncured.keys().next().value!);
    }
    return second;
  };

  async function send(request: Request, { access_token }: Tokens, signal: AbortSignal): Promise<Response> {
    if (await transport.lost?.()) {
      core.end("key_lost", "key_lost");
      signal.throwIfAborted();
    }
    return transport.send(new Request(request, { signal }), access_token);
  }
}
