/** What page and worker say to each other. No token ever does: requests go in, answers come out. */
import type { ErrorDetails } from "./errors.ts";
import type { SessionEvent } from "./session/events.ts";
import type { Login } from "./session/logins.ts";
import type { State } from "./session/machine.ts";
import type { SignInOptions, TokenInfo } from "./session/session.ts";
import type { WorkerConfig } from "./worker.ts";

export interface SentRequest {
  readonly url: string;
  readonly init: RequestInit;
  readonly body: ArrayBuffer | ReadableStream | null;
}

export interface SentResponse {
  readonly url: string;
  readonly redirected: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: ReadableStream | null;
}

export interface SentError extends Pick<ErrorDetails, "retryAfter" | "acrValues" | "maxAge"> {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly reason?: string;
  readonly response?: SentResponse;
}

/** From the page: a call, with everything the worker cannot see for itself. */
export type Call =
  | { readonly method: "create"; readonly config: WorkerConfig }
  | { readonly method: "fetch"; readonly request: SentRequest }
  | { readonly method: "signIn"; readonly options: SignInOptions }
  | { readonly method: "signOut"; readonly options: { readonly redirect?: boolean; readonly returnTo?: string } }
  | { readonly method: "handleCallback"; readonly href: string }
  | { readonly method: "refresh" }
  | { readonly method: "dispose" };

export interface PageState {
  readonly href: string;
  readonly visible: boolean;
  readonly online: boolean;
}

export type ToWorker =
  | { readonly kind: "call"; readonly id: number; readonly call: Call; readonly page: PageState }
  | { readonly kind: "abort"; readonly id: number }
  | { readonly kind: "event"; readonly type: string; readonly persisted: boolean; readonly page: PageState }
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown };

/** What only the page can do. */
export type Ask =
  | { readonly what: "put"; readonly prefix: string; readonly login: Login }
  | { readonly what: "take"; readonly prefix: string; readonly state: string }
  | { readonly what: "redirects"; readonly key: string; readonly at: number };

export type ToPage =
  | { readonly kind: "result"; readonly id: number; readonly value?: unknown; readonly error?: SentError; readonly response?: SentResponse }
  | { readonly kind: "event"; readonly event: SessionEvent }
  | { readonly kind: "state"; readonly state: State; readonly info: TokenInfo | null }
  | { readonly kind: "navigate" | "replaceUrl"; readonly url: string }
  | { readonly kind: "ask"; readonly id: number; readonly ask: Ask };
