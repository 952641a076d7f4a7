/**
 * The life of a session as a table. Nothing changes the state but a row of it; every change is an event with a reason.
 *
 * `signed_out`  no tokens. `signing_in`  on the way to the server and back. `signed_in`  there is a usable token.
 * `refreshing`  a refresh is in flight. `waiting`  a refresh failed for a passing reason: the tokens are kept and it is
 * tried again. `disposed`  the end.
 */

export type State = "signed_out" | "signing_in" | "signed_in" | "refreshing" | "waiting" | "disposed";

export type Cause =
  | "restored"
  | "sign_in"
  | "sign_in_failed"
  | "code_exchanged"
  | "refresh"
  | "refreshed"
  | "adopted"
  | "refresh_failed"
  | "refresh_refused"
  | "key_lost"
  | "sign_out"
  | "signed_out_elsewhere"
  | "user_changed"
  | "dispose";

export interface Transition {
  readonly from: readonly State[];
  readonly cause: Cause;
  readonly to: State;
}

const OPEN: readonly State[] = ["signed_in", "refreshing", "waiting"];

export const TRANSITIONS: readonly Transition[] = [
  { from: ["signed_out"], cause: "restored", to: "signed_in" },
  { from: ["signed_out", ...OPEN], cause: "sign_in", to: "signing_in" },
  { from: ["signing_in"], cause: "sign_in_failed", to: "signed_out" },
  { from: ["signing_in"], cause: "code_exchanged", to: "signed_in" },
  { from: ["signed_in", "waiting"], cause: "refresh", to: "refreshing" },
  { from: ["refreshing"], cause: "refreshed", to: "signed_in" },
  { from: ["signed_out", ...OPEN], cause: "adopted", to: "signed_in" },
  { from: ["refreshing"], cause: "refresh_failed", to: "waiting" },
  { from: ["refreshing"], cause: "refresh_refused", to: "signed_out" },
  { from: OPEN, cause: "key_lost", to: "signed_out" },
  { from: ["signed_out", "signing_in", ...OPEN], cause: "sign_out", to: "signed_out" },
  { from: ["signing_in", ...OPEN], cause: "signed_out_elsewhere", to: "signed_out" },
  { from: OPEN, cause: "user_changed", to: "signed_out" },
  { from: ["signed_out", "signing_in", ...OPEN], cause: "dispose", to: "disposed" },
];

/** The state after `cause`, or undefined when the table has no such row. */
export function next(state: State, cause: Cause): State | undefined {
  return TRANSITIONS.find((row) => row.cause === cause && row.from.includes(state))?.to;
}
