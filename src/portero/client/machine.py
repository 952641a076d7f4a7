"""The life of a session as a table, the same as in the browser library.

`signed_out`: no tokens. `signing_in`: on the way to the server and back. `signed_in`: there is a usable token.
`refreshing`: a refresh is in flight. `waiting`: a refresh failed for a passing reason, the tokens are kept and it is
tried again. `disposed`: the end. Nothing changes the state but a row; every change is an event with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a session is."""

    SIGNED_OUT = "signed_out"
    SIGNING_IN = "signing_in"
    SIGNED_IN = "signed_in"
    REFRESHING = "refreshing"
    WAITING = "waiting"
    DISPOSED = "disposed"


class Cause(Enum):
    """What moves it. `elsewhere` and `another` are other processes that use the same store."""

    RESTORED = "restored"
    SIGN_IN = "sign_in"
    SIGN_IN_FAILED = "sign_in_failed"
    CODE_EXCHANGED = "code_exchanged"
    REFRESH = "refresh"
    REFRESHED = "refreshed"
    ADOPTED = "adopted"
    REFRESH_FAILED = "refresh_failed"
    REFRESH_REFUSED = "refresh_refused"
    KEY_LOST = "key_lost"
    SIGN_OUT = "sign_out"
    SIGNED_OUT_ELSEWHERE = "signed_out_elsewhere"
    USER_CHANGED = "user_changed"
    DISPOSE = "dispose"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row."""

    sources: tuple[State, ...]
    cause: Cause
    target: State


_OUT, _IN = State.SIGNED_OUT, State.SIGNING_IN
_OPEN = (State.SIGNED_IN, State.REFRESHING, State.WAITING)

TRANSITIONS: tuple[Transition, ...] = (
    Transition((_OUT,), Cause.RESTORED, State.SIGNED_IN),
    Transition((_OUT, *_OPEN), Cause.SIGN_IN, _IN),
    Transition((_IN,), Cause.SIGN_IN_FAILED, _OUT),
    Transition((_IN,), Cause.CODE_EXCHANGED, State.SIGNED_IN),
    Transition((State.SIGNED_IN, State.WAITING), Cause.REFRESH, State.REFRESHING),
    Transition((State.REFRESHING,), Cause.REFRESHED, State.SIGNED_IN),
    Transition((_OUT, *_OPEN), Cause.ADOPTED, State.SIGNED_IN),
    Transition((State.REFRESHING,), Cause.REFRESH_FAILED, State.WAITING),
    Transition((State.REFRESHING,), Cause.REFRESH_REFUSED, _OUT),
    Transition(_OPEN, Cause.KEY_LOST, _OUT),
    Transition((_OUT, _IN, *_OPEN), Cause.SIGN_OUT, _OUT),
    Transition((_IN, *_OPEN), Cause.SIGNED_OUT_ELSEWHERE, _OUT),
    Transition(_OPEN, Cause.USER_CHANGED, _OUT),
    Transition((_OUT, _IN, *_OPEN), Cause.DISPOSE, State.DISPOSED),
)

_TABLE = {(source, row.cause): row.target for row in TRANSITIONS for source in row.sources}


def next_state(state: State, cause: Cause) -> State | None:
    """Return the state after `cause`, or None where the table has no such row."""
    return _TABLE.get((state, cause))
