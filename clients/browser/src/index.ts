/** The core: sign-in, tokens, refresh, sign-out. Importing it does nothing. */
import type { PorteroConfig } from "./session/config.ts";
import { Session } from "./session/session.ts";

/** A session in this page. It picks up what the storage holds, and does nothing else until it is asked. */
export function createPortero(config: PorteroConfig): Session {
  return new Session(config);
}

export * from "./errors.ts";
export type { PorteroConfig } from "./session/config.ts";
export type { Environment } from "./session/environment.ts";
export type { Listener, SessionEvent, Step } from "./session/events.ts";
export { next, TRANSITIONS } from "./session/machine.ts";
export type { Cause, State, Transition } from "./session/machine.ts";
export type { Proofs } from "./session/proofs.ts";
export type { BodyFactory, FetchInit } from "./session/replay.ts";
export type { Session, SignInOptions, TokenInfo } from "./session/session.ts";
export type { Storage, Store } from "./session/store.ts";
export type { Clock } from "./session/tokens.ts";
