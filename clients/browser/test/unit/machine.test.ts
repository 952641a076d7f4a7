/** Behaviour 59: the whole life of a session is one table. */
import { test } from "node:test";
import { next, TRANSITIONS, type Cause, type State } from "../../src/session/machine.ts";
import { assert } from "../support/assert.ts";

const states = [...new Set(TRANSITIONS.flatMap((row) => [...row.from, row.to]))];
const causes = [...new Set(TRANSITIONS.map((row) => row.cause))];

test("[59] the table is deterministic: one row for a state and a cause", () => {
  for (const state of states) {
    for (const cause of causes) {
      assert.ok(TRANSITIONS.filter((row) => row.cause === cause && row.from.includes(state)).length <= 1, `${state} ${cause}`);
    }
  }
});

test("[59] every state can be reached from signed_out, and every state but the last can be left", () => {
  const reached = new Set<State>(["signed_out"]);
  for (const _ of states) for (const state of reached) for (const cause of causes) reached.add(next(state, cause) ?? state);

  assert.deepEqual([...states].sort(), [...reached].sort());
  for (const state of states) {
    assert.equal(state !== "disposed", causes.some((cause) => next(state, cause) !== undefined && next(state, cause) !== state));
  }
});

test("[25] of the failures of a refresh only the refusal leads out of the session", () => {
  const ends = causes.filter((cause) => next("refreshing", cause) === "signed_out");

  assert.deepEqual(["key_lost", "refresh_refused", "sign_out", "signed_out_elsewhere", "user_changed"], ends.sort());
});

test("[44] nothing a refresh does leads from signed_out into a session", () => {
  for (const cause of ["refresh", "refreshed", "refresh_failed", "refresh_refused"] satisfies Cause[]) {
    assert.equal(undefined, next("signed_out", cause));
  }
});
