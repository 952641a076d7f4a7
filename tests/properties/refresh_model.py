"""A finite model of one refresh family: honest tabs, a network that loses and repeats, a thief, and time.

The server is the real `decide_refresh`; everything around it is small. What never comes back is folded away,
so that the number of states is finite: a generation is its distance from the head, an age stops counting once
it is past the soft window, and a request once sent may arrive any number of times until it is older than the
generations kept.

The honest client is the one of design §3.2: tabs share a storage; token and attempt are read from it together;
the answer is stored only where storage still holds the token that was presented, and before the new token is
used; `superseded` means "read storage again", and where nothing changed there "wait out the window and try once
more". Tabs take no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, NamedTuple

from portero.core.digests import sha256_of
from portero.core.sessions.records import (
    DeviceSession,
    Family,
    Profile,
    SessionStatus,
    TokenRecord,
)
from portero.core.sessions.refresh import decide_refresh
from portero.core.sessions.refresh_outcome import (
    Presented,
    RefreshOutcome,
    Refused,
    Retried,
    Reused,
    Rotated,
    SoftDenied,
    Unchanged,
)
from portero.core.sessions.ring import Ring, SpentToken
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.sessions.sealing import seal_successor
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.transitions import Decision, FamilyAggregate, RotationPolicy, User
from portero.core.types import ClientId, Digest, FamilyId, Issuer, NumericDate, Secret, Sid, Subject

Decide = Callable[..., Decision[RefreshOutcome]]
Answer = Literal["new", "same", "soft", "over"]

HONEST, FRESH, THIEF = "H", "X", "T"
"""Attempts: the one stored beside a token, a second try's own, a thief's. They differ per generation by being compared
only within one."""


class Parent(NamedTuple):
    boxed: bool
    attempt: str | None
    age: int
    retries: int


class Server(NamedTuple):
    """A family without its absolute numbers."""

    live: bool = True
    parent: Parent | None = None
    ring: tuple[tuple[str | None, int], ...] = ()
    sharing_run: int = 0


class Tab(NamedTuple):
    """One honest tab. `behind` is the distance of the token it presented from the head."""

    doing: Literal["idle", "read", "sent", "answered", "waiting", "out"] = "idle"
    behind: int = 0
    second_try: bool = False
    counts: bool = False
    """The refresh began after the last theft and after the last one that counted."""
    answer: Answer | None = None
    timer: int = 0


class State(NamedTuple):
    server: Server
    storage: int
    """How far behind the head the stored token is."""
    tabs: tuple[Tab, ...]
    sent: frozenset[tuple[int, str | None]]
    """Requests that may (still, or again) arrive: distance from the head, attempt."""
    loot: frozenset[int]
    """The thief's tokens."""
    since_theft: int
    """Honest refreshes completed one after the other since the last theft; stops at 2."""


class Event(NamedTuple):
    """One step. `behind` is counted before the step."""

    who: str
    what: str
    behind: int | None = None
    attempt: str | None = None
    outcome: str = ""


class Broken(NamedTuple):
    """A law was broken by this step."""

    law: str


@dataclass(frozen=True)
class Model:
    """What is explored. Small numbers: the laws compare, they do not calculate."""

    profile: Profile
    tabs: int = 2
    thief: bool = False
    ring: int = 2
    window: int = 1
    second_try_is_fresh: bool = True
    """The second try after `superseded` brings a new attempt (decision 0021)."""
    reads_together: bool = True
    """A tab reads token and attempt in one step of its storage (decision 0021)."""
    decide: Decide = decide_refresh

    def start(self) -> State:
        return State(Server(), 0, (Tab(),) * self.tabs, frozenset(), frozenset(), 0)

    def steps(self, state: State) -> Iterator[tuple[Event, State | Broken]]:
        """Yield every step that may happen next; a broken law ends the way."""
        if not self.thief and self.profile is not Profile.PLAIN and not self._stored_token_works(state):
            yield Event("law", "looks at storage", state.storage), Broken("without a thief, the stored token works")
        yield from self._tab_steps(state)
        for behind, attempt in state.sent:
            for due in self._due():
                yield self._arrives(state, behind, attempt, due=due)
        if self.thief:
            yield from self._thief_steps(state)
        older = self._tick(state)
        if older != state:
            yield Event("time", "passes"), older

    # ── honest tabs ──────────────────────────────────────────────────────────────────

    def _tab_steps(self, state: State) -> Iterator[tuple[Event, State | Broken]]:
        for i, tab in enumerate(state.tabs):
            if i and tab == state.tabs[i - 1]:
                continue  # tabs are sorted: equal ones are interchangeable
            who = f"tab {'ABCDEF'[i]}"
            if tab.doing == "idle" and self.reads_together:
                yield self._send(state, i, who, second_try=False)
            elif tab.doing == "idle":
                yield Event(who, "reads", state.storage), _with_tab(state, i, Tab("read", state.storage))
            elif tab.doing == "read":
                yield self._send_what_was_read(state, i, who)
            elif tab.doing == "sent":
                yield Event(who, "gives up waiting", tab.behind), _with_tab(state, i, Tab())
                if self._within_reach(tab.behind):
                    for due in self._due():
                        yield self._served(state, i, who, due=due)
            elif tab.doing == "answered":
                yield Event(who, "loses the answer", tab.behind), _with_tab(state, i, Tab())
                yield self._delivered(state, i, who)
            elif tab.doing == "waiting" and tab.timer == 0:
                if tab.behind != state.storage:
                    yield Event(who, "reads storage again: it has changed", state.storage), _with_tab(state, i, Tab())
                else:
                    yield self._send(state, i, who, second_try=True)

    def _send(self, state: State, i: int, who: str, *, second_try: bool) -> tuple[Event, State]:
        attempt = self._attempt(second_try=second_try)
        tab = Tab("sent", state.storage, second_try, counts=self.thief)
        after = _with_tab(state, i, tab)
        if self._within_reach(state.storage):
            after = after._replace(sent=after.sent | {(state.storage, attempt)})
        what = "tries once more with" if second_try else "sends"
        return Event(who, what, state.storage, attempt), after

    def _send_what_was_read(self, state: State, i: int, who: str) -> tuple[Event, State]:
        behind = state.tabs[i].behind
        stale = behind != state.storage
        attempt = FRESH if stale else HONEST
        after = _with_tab(state, i, Tab("sent", behind, second_try=stale))
        if self._within_reach(behind):
            after = after._replace(sent=after.sent | {(behind, attempt)})
        return Event(who, "sends what it read", behind, attempt), after

    def _attempt(self, *, second_try: bool) -> str | None:
        if self.profile is not Profile.ATTEMPT:
            return None
        return FRESH if second_try and self.second_try_is_fresh else HONEST

    def _stored_token_works(self, state: State) -> bool:
        attempt = self._attempt(second_try=False)
        return self._serve(state.server, state.storage, attempt, True, honest=True)[0] == "new"

    def _served(self, state: State, i: int, who: str, *, due: bool) -> tuple[Event, State | Broken]:
        tab = state.tabs[i]
        attempt = self._attempt(second_try=tab.second_try)
        answer, server, moved = self._serve(state.server, tab.behind, attempt, due, honest=True)
        event = Event("server", f"answers {who}", tab.behind, attempt, answer)
        if answer == "over" and not self.thief:
            return event, Broken("without a thief, no honest client is ever signed out")
        after = self._moved(state._replace(server=server), moved)
        served = after.tabs[i]._replace(doing="answered", answer=answer)
        return event, _with_tab(after, i, served)

    def _arrives(self, state: State, behind: int, attempt: str | None, *, due: bool) -> tuple[Event, State | Broken]:
        answer, server, moved = self._serve(state.server, behind, attempt, due, honest=True)
        event = Event("network", "delivers a request late or again", behind, attempt, answer)
        if answer == "over" and not self.thief:
            return event, Broken("without a thief, no late or repeated request ends a session")
        return event, self._moved(state._replace(server=server), moved)

    def _delivered(self, state: State, i: int, who: str) -> tuple[Event, State | Broken]:
        tab = state.tabs[i]
        event = Event(who, "receives", tab.behind, None, tab.answer or "")
        if tab.answer == "over":
            return event, _with_tab(state, i, Tab("out"))
        if tab.answer == "soft":
            if tab.behind != state.storage:
                return event, _with_tab(state, i, Tab())
            if not tab.second_try:
                return event, _with_tab(state, i, Tab("waiting", tab.behind, timer=self.window + 1))
            if not self.thief and self.profile is not Profile.PLAIN:
                return event, Broken("without a thief, no honest client is told `superseded` twice")
            return event, _with_tab(state, i, Tab("out"))
        after = state
        if tab.answer == "new" and state.storage == tab.behind:
            after = after._replace(storage=max(0, tab.behind - 1))
        if tab.counts and state.since_theft < 2:
            tabs = tuple(other._replace(counts=False) for other in after.tabs)
            after = after._replace(since_theft=state.since_theft + 1, tabs=tabs)
        return event, _with_tab(after, i, Tab())

    # ── the thief ────────────────────────────────────────────────────────────────────

    def _thief_steps(self, state: State) -> Iterator[tuple[Event, State | Broken]]:
        if state.storage not in state.loot or state.since_theft:
            yield Event("thief", "copies from storage", state.storage), _stolen(state, state.storage)
        for i, tab in enumerate(state.tabs):
            if tab.answer == "new":
                token = max(0, tab.behind - 1)
                if token not in state.loot or state.since_theft:
                    yield (
                        Event("thief", f"copies the answer on its way to tab {'ABCDEF'[i]}", token),
                        _stolen(state, token),
                    )
        for behind in state.loot:
            yield self._thief_presents(state, behind)

    def _thief_presents(self, state: State, behind: int) -> tuple[Event, State | Broken]:
        attempt = THIEF if self.profile is Profile.ATTEMPT else None
        answer, server, moved = self._serve(state.server, behind, attempt, True, honest=False)
        event = Event("thief", "presents", behind, attempt, answer)
        if self.profile is Profile.BOUND:
            if answer != "over" or server != state.server:
                return event, Broken("a thief without the key gets nothing and changes nothing")
            return event, state
        after = self._moved(state._replace(server=server), moved)
        if answer == "new":
            if state.since_theft >= 2:
                return event, Broken("a thief never outlives two honest refreshes")
            if any(tab.doing == "out" for tab in state.tabs):
                return event, Broken("a thief never outlives the honest user's own end")
            after = after._replace(loot=after.loot | {0})
        return event, after

    # ── the server ───────────────────────────────────────────────────────────────────

    def _serve(
        self, server: Server, behind: int, attempt: str | None, due: bool, *, honest: bool
    ) -> tuple[Answer, Server, bool]:
        return _serve(self.decide, self.profile, self.ring, self.window, server, behind, attempt, due, honest)

    def _moved(self, state: State, moved: bool) -> State:
        """The head moved: everything is one further behind."""
        if not moved:
            return state
        oldest = self.ring + 2
        tabs = tuple(
            tab._replace(behind=min(tab.behind + 1, oldest)) if tab.doing not in ("idle", "out") else tab
            for tab in state.tabs
        )
        return state._replace(
            storage=min(state.storage + 1, oldest),
            tabs=tabs,
            sent=frozenset((min(b + 1, oldest), a) for b, a in state.sent if self._within_reach(b + 1)),
            loot=frozenset(min(b + 1, oldest) for b in state.loot),
        )

    def _within_reach(self, behind: int) -> bool:
        """The head, its parent and the ring; whatever is older was not delayed, it is lost."""
        return behind <= self.ring + 1 or self.profile is Profile.BOUND

    def _due(self) -> tuple[bool, ...]:
        return (True, False) if self.profile is Profile.BOUND else (True,)

    def _tick(self, state: State) -> State:
        late = self.window + 1
        server = state.server
        if server.parent is not None and self.profile is not Profile.BOUND:
            server = server._replace(
                parent=server.parent._replace(age=min(server.parent.age + 1, late)),
                ring=tuple((attempt, min(age + 1, late)) for attempt, age in server.ring),
            )
        tabs = tuple(tab._replace(timer=tab.timer - 1) if tab.timer else tab for tab in state.tabs)
        return state._replace(server=server, tabs=tuple(sorted(tabs, key=_order)))


# ── the real decision, between folded states ─────────────────────────────────────────

_NOW = NumericDate(1_800_000_000)
_END = NumericDate(_NOW + 10_000_000)
_HEAD = 1000
_CLIENT, _STRANGER = ClientId("page"), ClientId("stranger")
_USER = User(Subject("ana"), "ana", None, "Ana", "ana@example.org", ())
_SESSION = DeviceSession(
    Sid("sid"), None, _USER.subject, _CLIENT, "Firefox", "", _NOW, _NOW, _NOW, _END, _END, SessionStatus.ACTIVE
)
_FAMILY_ID = FamilyId(bytes(16))


def _token(generation: int) -> RefreshToken:
    return RefreshToken(_FAMILY_ID, generation, Secret(generation.to_bytes(32, "big")))


def _digest(attempt: str | None) -> Digest | None:
    return None if attempt is None else Digest(attempt.encode() * 32)


@cache
def _serve(
    decide: Decide,
    profile: Profile,
    ring: int,
    window: int,
    server: Server,
    behind: int,
    attempt: str | None,
    due: bool,
    honest: bool,
) -> tuple[Answer, Server, bool]:
    """Unfold, run the real decision, check that there is one branch, fold again."""
    if not server.live:
        return "over", server, False
    rules = RefreshRules(
        Issuer("https://portero.example"),
        rotation=RotationPolicy.ALWAYS if due else RotationPolicy.NEAR_END,
        ring_size=ring,
        attempt_soft_window=window,
        plain_soft_window=window,
    )
    head = TokenRecord(sha256_of(_token(_HEAD).secret), _HEAD, _NOW, _END)
    family = Family(
        _FAMILY_ID, _SESSION.sid, _CLIENT, (), (), None, profile, "1", (), _NOW, _NOW, head,
        _unfold_parent(server.parent),
        Ring.of(
            *(SpentToken(_HEAD - 2 - i, _digest(a), NumericDate(_NOW - age)) for i, (a, age) in enumerate(server.ring))
        ),
        server.sharing_run,
    )  # fmt: skip
    fresh = FreshMaterial(_token(_HEAD + 1).secret, bytes(16), bytes(12), 0.0)
    presented = Presented(
        _token(_HEAD - behind), _CLIENT if honest or profile is not Profile.BOUND else _STRANGER, None, _digest(attempt)
    )
    decision = decide(FamilyAggregate(family, _SESSION, _USER), presented, now=_NOW, rules=rules, fresh=fresh)
    outcome = decision.result
    match outcome:
        case Rotated():
            assert behind == 0, "only the head rotates"
            assert outcome.family.head.generation == _HEAD + 1
            return "new", _fold(outcome.family, ring, profile), True
        case Retried():
            assert outcome.refresh_token is not None
            assert outcome.refresh_token.secret.matches(_token(_HEAD).secret), "a retry gives the one successor"
            return "new", _fold(outcome.family, ring, profile), False
        case Unchanged():
            return "same", _fold(outcome.family, ring, profile), False
        case SoftDenied():
            assert not decision.writes
            return "soft", server, False
        case Reused():
            return "over", Server(live=False), False
        case Refused():
            assert not decision.writes
            return "over", server, False


def _unfold_parent(parent: Parent | None) -> TokenRecord | None:
    if parent is None:
        return None
    token = _token(_HEAD - 1)
    box = seal_successor(_token(_HEAD).secret, presented=token, nonce=bytes(12)) if parent.boxed else None
    return TokenRecord(
        sha256_of(token.secret), _HEAD - 1, _NOW, _END, NumericDate(_NOW - parent.age), _digest(parent.attempt), box,
        parent.retries,
    )  # fmt: skip


def _fold(family: Family, ring: int, profile: Profile) -> Server:
    def folded(digest: Digest | None) -> str | None:
        return None if digest is None else chr(digest[0])

    parent = family.parent
    retries = 0 if parent is None or profile is not Profile.PLAIN else parent.retries
    return Server(
        True,
        None
        if parent is None or parent.first_used is None
        else Parent(parent.successor_box is not None, folded(parent.attempt_digest), _NOW - parent.first_used, retries),
        # For a bound family neither ring nor age is ever asked.
        ()
        if profile is Profile.BOUND
        else tuple((folded(spent.attempt_digest), _NOW - spent.first_used) for spent in family.ring),
        family.sharing_run,
    )


def _with_tab(state: State, i: int, tab: Tab) -> State:
    tabs = [*state.tabs]
    tabs[i] = tab
    tabs.sort(key=_order)
    return state._replace(tabs=tuple(tabs))


def _order(tab: Tab) -> tuple[str, int, bool, bool, str, int]:
    return (tab.doing, tab.behind, tab.second_try, tab.counts, tab.answer or "", tab.timer)


def _stolen(state: State, token: int) -> State:
    tabs = tuple(sorted((tab._replace(counts=False) for tab in state.tabs), key=_order))
    return state._replace(loot=state.loot | {token}, since_theft=0, tabs=tabs)


def with_decide(model: Model, decide: Decide) -> Model:
    """The same model around another (wrong) decision."""
    return replace(model, decide=decide)
