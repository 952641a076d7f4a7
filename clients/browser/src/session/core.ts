/** What the parts of a session share: state and events, the tokens and their store, the server, the other tabs. */
import { PorteroError } from "../errors.ts";
import { discoveryRequest, processDiscoveryResponse, type ServerMetadata } from "../protocol/metadata.ts";
import { processTokenResponse, revocationRequest, unavailable, type Grant, type TokenOutcome } from "../protocol/token.ts";
import type { PorteroConfig } from "./config.ts";
import { page, type Environment } from "./environment.ts";
import type { Listener, SessionEvent, Step } from "./events.ts";
import { next, type Cause, type State } from "./machine.ts";
import { memory, type Store } from "./store.ts";
import { ageOf, tokensFrom, wall, type Tokens } from "./tokens.ts";
import { bearer, type Transport } from "./transport.ts";

/** Between tabs: what happened, never what to use. */
export type TabMessage =
  { readonly kind: "refreshed" } | { readonly kind: "signed_out" } | { readonly kind: "signed_in"; readonly sub: string | undefined };

type Unstamped<T> = T extends unknown ? Omit<T, "at"> : never;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface Core {
  readonly config: PorteroConfig;
  readonly environment: Environment;
  readonly transport: Transport;
  /** Issuer, client and account: what keeps two sessions of one browser apart in every name we use. */
  readonly prefix: string;
  readonly store: Store;
  /** Where the tokens really lie; `memory` when the browser did not let us in. */
  readonly storageKind: string;
  readonly listeners: Set<Listener>;
  readonly state: State;
  readonly tokens: Tokens | null;
  /** Seconds since the tokens were asked for. */
  age(): number;
  /** One per sign-in: what is in flight when it ends, ends with it. */
  readonly era: AbortController;
  tell(message: TabMessage): void;
  changed(): void;

  transition(cause: Cause, reason: string): void;
  step(step: Step, reason: string, url?: string): void;
  /** The server's metadata, asked for once; a failure is asked again. */
  metadata(): Promise<ServerMetadata>;
  /** Ask the token endpoint; whatever happens is an outcome. */
  ask(step: Step, request: (metadata: ServerMetadata) => Request): Promise<TokenOutcome>;
  /** What the store holds now; another tab may have written it. */
  stored(): Tokens | null;
  /** Take over tokens that are in the store. */
  hold(tokens: Tokens): Tokens;
  /** Take over what the server granted. In the store before anything is announced: whoever hears of it must find it. */
  keep(grant: Grant, id: string, sentAt: number, previous?: Tokens): Tokens;
  /** The end of this sign-in in this page. `wipe`: in the store too, unless it holds somebody else's by now. */
  end(cause: Cause, reason: string, wipe?: boolean): void;
  /** Tokens that came too late must not bring anybody back, and nobody shall find them. */
  drop(refreshToken: string | undefined): void;
  /** Best effort, after the wipe: the server forgets what we already forgot. */
  revoke(refreshToken: string | undefined): Promise<void>;
}

export function coreOf(config: PorteroConfig): Core {
  const { issuer, clientId, account = "", storage = memory, environment = page, transport = bearer } = config;
  const prefix = `portero|${issuer}|${clientId}|${account}|`;
  const listeners = new Set<Listener>();
  let known: Promise<ServerMetadata> | undefined;

  const emit = (event: Unstamped<SessionEvent>) => {
    const stamped = { ...event, at: wall() };
    // Later, and each on its own: a listener may be slow or throw, and we may be holding a lock. Whoever subscribes
    // right after the session was made still hears how it began.
    queueMicrotask(() => listeners.forEach((listener) => queueMicrotask(() => listener(stamped))));
  };

  // An address without what may be secret in it.
  const step: Core["step"] = (step, reason, url) => emit({ type: "step", step, reason, url: url?.replace(/[?#].*/, "") });

  const limited = (request: Request) => new Request(request, { signal: AbortSignal.timeout(config.limits?.refresh ?? 10_000) });

  const metadata: Core["metadata"] = () => {
    const ask = async () => processDiscoveryResponse(issuer, await fetch(limited(discoveryRequest(issuer))));
    return (known ??= ask().catch((error: unknown) => {
      known = undefined;
      throw error;
    }));
  };

  const core: Mutable<Core> = {
    config,
    environment,
    transport,
    prefix,
    storageKind: storage.kind,
    store: storage.open(prefix, () => {
      // The store may fall while it is being opened: then `core` is not there yet.
      queueMicrotask(() => {
        if (core.storageKind === memory.kind) return;
        core.storageKind = memory.kind;
        emit({ type: "warning", reason: "storage_blocked" });
      });
    }),
    listeners,
    state: "signed_out",
    tokens: null,
    age: () => 0,
    era: new AbortController(),
    tell() {},
    changed() {},

    transition(cause, reason) {
      const from = core.state;
      const to = next(from, cause);
      if (!to) return;
      core.state = to;
      emit({ type: "transition", from, to, cause, reason });
      core.changed();
    },

    step,
    metadata,

    async ask(name, request) {
      try {
        const asked = request(await metadata());
        step(name, core.state, asked.url);
        return await processTokenResponse(await transport.send(limited(asked), null), wall());
      } catch (error) {
        return unavailable(error, environment.online());
      }
    },

    stored: () => JSON.parse(core.store.read() ?? "null") as Tokens | null,

    hold(tokens) {
      core.age = ageOf(tokens);
      return (core.tokens = tokens);
    },

    keep(grant, id, sentAt, previous) {
      const tokens = tokensFrom(grant, id, sentAt, previous);
      core.store.write(JSON.stringify(tokens));
      return core.hold(tokens);
    },

    end(cause, reason, wipe = true) {
      const { era } = core;
      if (wipe) core.store.write(null);
      core.tokens = null;
      core.era = new AbortController();
      core.transition(cause, reason);
      era.abort(new PorteroError("sign_in_required", reason));
    },

    drop(refreshToken) {
      step("refresh.dropped", core.state);
      void core.revoke(refreshToken);
    },

    async revoke(refreshToken) {
      try {
        const { revocation_endpoint: url } = await metadata();
        if (!url || !refreshToken) return;
        step("revoke.sent", core.state, url);
        await fetch(limited(revocationRequest(url, { clientId, refreshToken })));
      } catch {
        step("revoke.failed", core.state);
      }
    },
  };
  return core;
}

/** Wait for `promise`, but no longer than `signal`; what it stands for goes on. */
export function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
  });
  return Promise.race([promise, aborted]);
}
