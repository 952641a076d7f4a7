/** The core: sign-in, tokens, refresh, sign-out. Importing it does nothing. */

/** A session in this page. It picks up what the storage holds, and does nothing else until it is asked. */
export { sessionOf as createPortero } from "./session/session.ts";

export * from "./errors.ts";
export type { PorteroConfig } from "./session/config.ts";
export type { Environment } from "./session/environment.ts";
export type { Listener, SessionEvent, Step } from "./session/events.ts";
export { next, TRANSITIONS } from "./session/machine.ts";
export type { Cause, State, Transition } from "./session/machine.ts";
export type { BodyFactory, FetchInit } from "./session/replay.ts";
export type { Session, SignInOptions, TokenInfo } from "./session/session.ts";
export type { Storage, Store } from "./session/store.ts";
export type { Transport } from "./session/transport.ts";
