/** What a session tells: every transition, every step on the wire, every warning. None of it ever holds a token. */
import type { Cause, State } from "./machine.ts";

export type Step =
  | "sign_in.navigate"
  | "challenge.sent"
  | "code.sent"
  | "refresh.sent"
  | "refresh.answered"
  | "refresh.adopted"
  | "refresh.dropped"
  | "refresh.waits"
  | "request.unauthorized"
  | "request.retried"
  | "request.not_cured"
  | "revoke.sent"
  | "revoke.failed"
  | "sign_out.navigate";

export type SessionEvent =
  | { readonly type: "transition"; readonly from: State; readonly to: State; readonly cause: Cause; readonly reason: string; readonly at: number }
  | { readonly type: "step"; readonly step: Step; readonly reason: string; readonly url?: string | undefined; readonly at: number }
  | { readonly type: "warning"; readonly reason: "storage_blocked"; readonly at: number };

export type Listener = (event: SessionEvent) => void;
