/** The scenarios that the Python client replays too (`clients/vectors`): server answers in; requests, outcomes and states out. */
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PorteroError } from "../../src/errors.ts";
import { tokenChallenge } from "../../src/protocol/challenge.ts";
import { retryAfterSeconds } from "../../src/protocol/retry-after.ts";
import { processTokenResponse } from "../../src/protocol/token.ts";
import type { Environment } from "../../src/session/environment.ts";
import { sessionOf, type Session } from "../../src/session/session.ts";
import { memory, type Storage } from "../../src/session/store.ts";
import { dueAfter, usableFor } from "../../src/session/tokens.ts";
import { assert } from "../support/assert.ts";

interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  readonly text?: string;
  readonly fails?: "network" | "timeout";
  readonly before?: "sign_out";
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly origin?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly stream?: string;
}

interface Expected {
  readonly outcome?: Record<string, unknown>;
  readonly state: string;
  readonly token_requests?: readonly Record<string, string>[];
  readonly service_tokens?: readonly string[];
  readonly service_bodies?: readonly string[];
  readonly revocations?: readonly string[];
}

interface Step {
  readonly advance?: number;
  readonly wall?: number;
  readonly sign_out?: true;
  readonly call?: Call;
  readonly times?: number;
  readonly service?: Record<string, Answer>;
  readonly token?: readonly Answer[];
  readonly expect?: Expected;
}

interface Vectors {
  readonly start: {
    readonly client_id: string;
    readonly issuer: string;
    readonly allowed_origins: readonly string[];
    readonly tokens: Record<string, unknown>;
  };
  readonly scenarios: readonly { readonly name: string; readonly steps: readonly Step[] }[];
  readonly token_answers: readonly { readonly status: number; readonly body: unknown; readonly outcome: string; readonly expires_in?: number }[];
  readonly challenges: readonly { readonly header: string; readonly scheme: string | null; readonly parameters: Record<string, string> }[];
  readonly retry_after: readonly { readonly headers: Record<string, string>; readonly seconds: number | null }[];
  readonly lives: readonly {
    readonly grant: { readonly expires_in?: number; readonly refresh_after?: number };
    readonly usable_for: number | null;
    readonly due_after: readonly (number | null)[];
  }[];
}

const vectors = JSON.parse(readFileSync(`${process.env["PORTERO_ROOT"]}../vectors/scenarios.json`, "utf8")) as Vectors;
const { start } = vectors;
const api = start.allowed_origins[0]!;

/** What belongs to the runtime and stands still, or is answered, while a scenario runs. */
const real = { fetch: globalThis.fetch, now: Date.now, steady: performance.now.bind(performance), setTimeout: globalThis.setTimeout };

class Replay {
  readonly #session: Session;
  readonly #attempts = new Map<string, string>();
  #wall = 1_800_000_000_000;
  #steady = 1_000_000;
  #answers: Answer[] = [];
  #service: Record<string, Answer> = {};
  #sent = this.#nothing();

  constructor() {
    globalThis.fetch = (input, init) => this.#fetch(new Request(input, init));
    Date.now = () => this.#wall;
    performance.now = () => this.#steady;
    // The session's own timers look at the clocks; in a scenario time passes only when it says so.
    globalThis.setTimeout = ((body: () => void, ms?: number) => ((ms ?? 0) < 100 ? real.setTimeout(body, ms) : 0)) as typeof globalThis.setTimeout;
    const tokens = JSON.stringify({ ...start.tokens, id: "l1", at: this.#wall });
    const storage: Storage = {
      kind: memory.kind,
      open(name, blocked) {
        const store = memory.open(name, blocked);
        store.write(tokens);
        return store;
      },
    };
    const environment: Environment = {
      href: () => "https://shop.example/",
      navigate: () => assert.ok(false, "a scenario stays where it is"),
      replaceUrl: () => {},
      visible: () => true,
      online: () => true,
      on: () => () => {},
    };
    this.#session = sessionOf({
      issuer: start.issuer,
      clientId: start.client_id,
      redirectUri: "https://shop.example/callback",
      allowedOrigins: start.allowed_origins,
      autoSignIn: false,
      limits: { superseded: 1 },
      storage,
      environment,
    });
  }

  async step(step: Step): Promise<void> {
    this.#sent = this.#nothing();
    let outcomes: Record<string, unknown>[] = [];
    if (step.advance !== undefined) {
      this.#wall += step.advance * 1000;
      this.#steady += step.advance * 1000;
    } else if (step.wall !== undefined) this.#wall += step.wall * 1000;
    else if (step.sign_out) await this.#session.signOut();
    else outcomes = await this.#call(step);
    if (step.expect) await this.#compare(step.expect, outcomes);
  }

  close(): void {
    this.#session.dispose();
    globalThis.fetch = real.fetch;
    Date.now = real.now;
    performance.now = real.steady;
    globalThis.setTimeout = real.setTimeout;
    assert.equal(0, this.#answers.length, "every answer was asked for");
  }

  #nothing(): { token_requests: URLSearchParams[]; service_tokens: string[]; service_bodies: string[]; revocations: string[] } {
    return { token_requests: [], service_tokens: [], service_bodies: [], revocations: [] };
  }

  #call({ call, times = 1, service, token }: Step): Promise<Record<string, unknown>[]> {
    this.#service = service!;
    this.#answers = [...(token ?? [])];
    const { method, path, origin = api, headers, body, stream } = call!;
    const once = async () => {
      const sent = stream === undefined ? body : new Blob([stream]).stream();
      const init = { method, ...(headers && { headers }), ...(sent !== undefined && { body: sent, duplex: "half" }) };
      try {
        return { status: (await this.#session.fetch(origin + path, init)).status };
      } catch (error) {
        if (!(error instanceof PorteroError)) throw error;
        const { code, reason, retryAfter, acrValues, maxAge } = error;
        return { error: code, reason, retry_after: retryAfter, acr_values: acrValues, max_age: maxAge };
      }
    };
    return Promise.all(Array.from({ length: times }, once));
  }

  async #fetch(request: Request): Promise<Response> {
    const { origin, pathname } = new URL(request.url);
    if (origin !== start.issuer) return this.#serve(request);
    if (pathname.startsWith("/.well-known/")) {
      const endpoints = ["authorization", "token", "revocation"].map((name) => [`${name}_endpoint`, `${origin}/${name}`]);
      return Response.json({ issuer: start.issuer, ...Object.fromEntries(endpoints) });
    }
    const form = new URLSearchParams(await request.text());
    if (pathname === "/revocation") {
      this.#sent.revocations.push(form.get("token")!);
      return new Response();
    }
    this.#sent.token_requests.push(form);
    const answer = this.#answers.shift()!;
    if (answer.before === "sign_out") await this.#session.signOut();
    if (answer.fails === "network") throw new TypeError("fetch failed");
    if (answer.fails === "timeout") throw new DOMException("no answer in time", "TimeoutError");
    return response(answer);
  }

  async #serve(request: Request): Promise<Response> {
    const token = (request.headers.get("authorization") ?? "").replace(/^Bearer /, "");
    this.#sent.service_tokens.push(token);
    this.#sent.service_bodies.push(await request.text());
    return response(this.#service[token] ?? this.#service["*"]!);
  }

  async #compare(expected: Expected, outcomes: readonly Record<string, unknown>[]): Promise<void> {
    for (const outcome of outcomes) {
      const named = Object.keys(expected.outcome!).map((name) => [name, outcome[name]]);
      assert.deepEqual(expected.outcome, Object.fromEntries(named));
    }
    // What a sign-out has left behind lands on its own.
    for (let turns = 0; turns < 100 && this.#sent.revocations.length < (expected.revocations?.length ?? 0); turns++) {
      await new Promise((resolve) => real.setTimeout(resolve, 10));
    }
    assert.equal(expected.state, this.#session.state);
    if (expected.token_requests) this.#compareForms(expected.token_requests);
    for (const name of ["service_tokens", "service_bodies", "revocations"] as const) {
      if (expected[name]) assert.deepEqual(expected[name], this.#sent[name], name);
    }
  }

  #compareForms(expected: readonly Record<string, string>[]): void {
    const sent = this.#sent.token_requests;
    assert.equal(expected.length, sent.length, "requests to the token endpoint");
    expected.forEach(({ refresh_attempt: letter, ...named }, n) => {
      const attempt = sent[n]!.get("refresh_attempt")!;
      assert.match(/^[\w-]{22}$/, attempt);
      if (letter !== undefined) {
        assert.equal(this.#attempts.get(letter) ?? attempt, attempt, "the same attempt again");
        this.#attempts.set(letter, attempt);
      }
      assert.deepEqual(named, Object.fromEntries(Object.keys(named).map((name) => [name, sent[n]!.get(name)])));
    });
    assert.equal(this.#attempts.size, new Set(this.#attempts.values()).size, "another letter is another attempt");
  }
}

function response({ status, headers, body, text }: Answer): Response {
  return new Response(text ?? (body === undefined ? null : JSON.stringify(body)), { status: status!, ...(headers && { headers }) });
}

for (const { name, steps } of vectors.scenarios) {
  test(`[66] ${name}`, async () => {
    const replay = new Replay();
    try {
      for (const step of steps) await replay.step(step);
    } finally {
      replay.close();
    }
  });
}

test("[66] what an answer of the token endpoint means", async () => {
  for (const { status, body, outcome: wanted, expires_in } of vectors.token_answers) {
    const outcome = await processTokenResponse(new Response(JSON.stringify(body), { status }), 0);
    assert.equal(wanted, outcome.kind === "granted" ? outcome.kind : outcome.reason, JSON.stringify(body));
    if (outcome.kind === "granted") assert.equal(expires_in, outcome.grant.expires_in);
  }
});

test("[66] the challenge that concerns us", () => {
  for (const { header, scheme, parameters } of vectors.challenges) {
    const challenge = tokenChallenge(header);
    assert.equal(scheme, challenge?.scheme ?? null, header);
    assert.deepEqual(parameters, challenge?.parameters ?? {});
  }
});

test("[66] how long to wait", () => {
  for (const { headers, seconds } of vectors.retry_after) assert.equal(seconds, retryAfterSeconds(new Headers(headers), 0) ?? null, JSON.stringify(headers));
});

test("[66] how long a token is used, and when a proactive refresh is due", () => {
  const known = (seconds: number | null) => seconds ?? Infinity;
  for (const { grant, usable_for: usable, due_after: due } of vectors.lives) {
    const whole = { access_token: "a", ...grant };
    assert.equal(known(usable), usableFor(whole), JSON.stringify(grant));
    assert.deepEqual(due.map(known), [dueAfter(whole, 0), dueAfter(whole, 1)]);
  }
});
