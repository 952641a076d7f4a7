/** What the parts of a session share: state and events, the tokens and their store, the server, the other tabs. */
import { SignInRequiredError } from "../errors.ts";
import { discoveryRequest, processDiscoveryResponse, type ServerMetadata } from "../protocol/metadata.ts";
import { revocationRequest } from "../protocol/token.ts";
import type { PorteroConfig } from "./config.ts";
import { page, type Environment } from "./environment.ts";
import { shown, type Listener, type SessionEvent, type Step } from "./events.ts";
import { next, type Cause, type State } from "./machine.ts";
import { memory, type Store } from "./store.ts";
import { Age, systemClock, type Clock, type Tokens } from "./tokens.ts";

/** Between tabs: what happened, never what to use. */
export type TabMessage =
  | { readonly kind: "refreshed" }
  | { readonly kind: "signed_out" }
  | { readonly kind: "signed_in"; readonly subject: string | undefined };

type Unstamped<T> = T extends unknown ? Omit<T, "at"> : never;

export class Core {
  readonly config: PorteroConfig;
  readonly clock: Clock;
  readonly environment: Environment;
  /** Issuer, client and account: what keeps two sessions of one browser apart in every name we use. */
  readonly prefix: string;
  readonly store: Store;
  /** Where the tokens really lie; `memory` when the browser did not let us in. */
  storageKind: string;
  readonly listeners = new Set<Listener>();
  state: State = "signed_out";
  tokens: Tokens | null = null;
  age: Age | null = null;
  /** One per sign-in: what is in flight when it ends, ends with it. */
  era = new AbortController();
  tell: (message: TabMessage) => void = () => {};
  changed: () => void = () => {};
  #metadata: Promise<ServerMetadata> | undefined;

  constructor(config: PorteroConfig) {
    this.config = config;
    this.clock = config.clock ?? systemClock;
    this.environment = config.environment ?? page;
    this.prefix = `portero|${config.issuer}|${config.clientId}|${config.account ?? ""}|`;
    const storage = config.storage ?? memory;
    this.storageKind = storage.kind;
    this.store = storage.open(this.prefix, () => {
      if (this.storageKind === memory.kind) return;
      this.storageKind = memory.kind;
      this.#emit({ type: "warning", reason: "storage_blocked" });
    });
  }

  transition(cause: Cause, reason: string): void {
    const from = this.state;
    const to = next(from, cause);
    if (!to) return;
    this.state = to;
    this.#emit({ type: "transition", from, to, cause, reason });
    this.changed();
  }

  step(step: Step, reason: string, url?: string): void {
    this.#emit({ type: "step", step, reason, url: url && shown(url) });
  }

  #emit(event: Unstamped<SessionEvent>): void {
    const stamped = { ...event, at: this.clock.wall() };
    // Later, and each on its own: a listener may be slow or throw, and we may be holding a lock. Whoever subscribes
    // right after the session was made still hears how it began.
    queueMicrotask(() => {
      for (const listener of this.listeners) queueMicrotask(() => listener(stamped));
    });
  }

  /** The server's metadata, asked for once; a failure is asked again. */
  metadata(): Promise<ServerMetadata> {
    const { metadata, issuer } = this.config;
    this.#metadata ??= (async () =>
      metadata ?? processDiscoveryResponse(issuer, await this.send(discoveryRequest(issuer))))().catch((error: unknown) => {
      this.#metadata = undefined;
      throw error;
    });
    return this.#metadata;
  }

  /** Send to the authorization server, under the time limit, with a proof of possession where that is asked for. */
  async send(request: Request): Promise<Response> {
    const { proofs, limits } = this.config;
    const { url, method } = request;
    const signal = AbortSignal.timeout(limits?.refresh ?? 10_000);
    for (let again = !!proofs && method === "POST"; ; again = false) {
      const attempt = new Request(again ? request.clone() : request, { signal });
      if (proofs && method === "POST") attempt.headers.set("DPoP", await proofs.proof({ method, url }));
      const response = await fetch(attempt);
      if (!proofs?.learn(response, url) || !again) return response;
    }
  }

  /** What the store holds now; another tab may have written it. */
  stored(): Tokens | null {
    const text = this.store.read();
    return text === null ? null : (JSON.parse(text) as Tokens);
  }

  /** Take over tokens, ours or another tab's; `write` when they are new to the store. */
  hold(tokens: Tokens, write: boolean): Tokens {
    // Stored before anything is announced: whoever hears of it must find it.
    if (write) this.store.write(JSON.stringify(tokens));
    this.age = new Age(this.clock, tokens);
    return (this.tokens = tokens);
  }

  /** The end of this sign-in in this page. `wipe`: in the store too, unless it holds somebody else's by now. */
  end(cause: Cause, reason: string, wipe = true): void {
    if (wipe) this.store.write(null);
    this.tokens = this.age = null;
    const { era } = this;
    this.era = new AbortController();
    this.transition(cause, reason);
    era.abort(new SignInRequiredError(reason));
  }

  /** Best effort, after the wipe: the server forgets what we already forgot. */
  async revoke(refreshToken: string | undefined): Promise<void> {
    if (!refreshToken) return;
    try {
      const { revocation_endpoint: url } = await this.metadata();
      if (!url) return;
      this.step("revoke.sent", "sign_out", url);
      await this.send(revocationRequest(url, { clientId: this.config.clientId, refreshToken }));
    } catch (error) {
      this.step("revoke.failed", (error as Error).name);
    }
  }
}

/** Wait for `promise`, but no longer than `signal`; what it stands for goes on. */
export function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
