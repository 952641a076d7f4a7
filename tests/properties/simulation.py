"""Six hours of a person with three tabs, a bad network and perhaps a thief, against the real decision: rates, not laws.

The model of the refresh facts (§C.5): access tokens of 300 s, 10 % of the messages lost, 2 % of the lost answers
followed by 10 to 120 minutes asleep. Without a lock every tab refreshes on its own.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from portero.core.digests import sha256_of
from portero.core.sessions.records import DeviceSession, Family, Profile, SessionStatus, TokenRecord
from portero.core.sessions.refresh import decide_refresh
from portero.core.sessions.refresh_outcome import Presented, Retried, Rotated, SoftDenied, Success
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.transitions import FamilyAggregate, Put, User
from portero.core.types import ClientId, Digest, FamilyId, Issuer, NumericDate, Secret, Sid, Subject

_START: Final = NumericDate(1_800_000_000)
_HOURS: Final = 6 * 3600
_ACCESS: Final = 300
_CLIENT: Final = ClientId("page")
_USER: Final = User(Subject("ana"), "ana", None, "Ana", "ana@example.org", ())
_RULES: Final = RefreshRules(Issuer("https://portero.example"))
_WINDOW: Final = {Profile.BOUND: 10, Profile.ATTEMPT: 10, Profile.PLAIN: 30}

Process = Iterator[float]
"""Yields how many seconds to sleep."""


@dataclass
class Run:
    """One run: the server's records, the shared storage, and what is being measured."""

    profile: Profile
    dice: random.Random
    loss: float = 0.1
    tabs: int = 3
    locked: bool = False
    now: float = 0.0
    signed_out: bool = False
    thief_seconds: float = 0.0
    thief_alive: bool = False
    _holder: int | None = None
    _access_exp: float = _ACCESS
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        secret = Secret(self.dice.randbytes(32))
        far = NumericDate(_START + 30 * 86_400)
        self.token = RefreshToken(FamilyId(bytes(16)), 0, secret)
        self.session = DeviceSession(Sid("sid"), None, _USER.subject, _CLIENT, "", "", _START, _START, _START, far, far)
        head = TokenRecord(sha256_of(secret), 0, _START, far)
        self.family = Family(
            self.token.family_id, Sid("sid"), _CLIENT, (), (), None, self.profile, "1", (), _START, _START, head
        )

    def play(self, *, theft_at: float | None) -> Run:
        """Let everybody act for six hours, or until the session is over."""
        actors: list[Process] = [self._tab(i) for i in range(self.tabs)]
        if theft_at is not None:
            actors.append(self._thief(theft_at))
        order = itertools.count()
        due = [(self.dice.random(), next(order), actor) for actor in actors]
        heapq.heapify(due)
        while due:
            self.now, _, actor = heapq.heappop(due)
            if self.now > _HOURS:
                break
            pause = next(actor, None)
            if pause is not None:
                heapq.heappush(due, (self.now + pause, next(order), actor))
        self.thief_alive = self.thief_alive and self.session.status is SessionStatus.ACTIVE
        return self

    def _tab(self, me: int) -> Process:
        """Tabs share the access token, so they all notice its end at about the same time."""
        while not self.signed_out:
            yield max(0.0, self._access_exp - self.now) + self.dice.uniform(0.0, 0.3)
            while self.locked and self._holder is not None:
                yield 0.2
            if self.now < self._access_exp:
                continue  # another tab has refreshed
            self._holder = me if self.locked else None
            yield from self._refresh()
            self._holder = None

    def _refresh(self) -> Process:
        """The protocol of design §3.2, with a new attempt at the second try (decision 0021)."""
        second_try = False
        while not self.signed_out:
            token = self.token
            attempt = f"second {next(self._numbers)}" if second_try else f"stored {token.generation}"
            yield self.dice.uniform(0.02, 0.5)
            if self.dice.random() < self.loss / 2:
                yield 5.0
                continue
            outcome = self._serve(token, attempt)
            yield self.dice.uniform(0.02, 0.5)
            if self.dice.random() < self.loss / 2:
                yield self.dice.uniform(600, 7200) if self.dice.random() < 0.02 else 5.0
                continue
            if isinstance(outcome, Rotated | Retried):
                if self.token is token and outcome.refresh_token is not None:
                    self.token = outcome.refresh_token
                    self._access_exp = self.now + _ACCESS * self.dice.uniform(0.9, 1.0)
                return
            if isinstance(outcome, Success) or self.token is not token:
                return
            if not isinstance(outcome, SoftDenied) or second_try:
                self.signed_out = True
                return
            second_try = True
            yield _WINDOW[self.profile] + 1

    def _thief(self, theft_at: float) -> Process:
        yield theft_at
        token = self.token
        while True:
            outcome = self._serve(token, "thief", client_id="thief" if self.profile is Profile.BOUND else None)
            self.thief_alive = isinstance(outcome, Success)
            if not isinstance(outcome, Rotated | Retried) or outcome.refresh_token is None:
                return
            token = outcome.refresh_token
            self.thief_seconds = self.now - theft_at + _ACCESS
            yield _ACCESS * 0.9

    def _serve(self, token: RefreshToken, attempt: str, *, client_id: str | None = None) -> object:
        digest: Digest | None = sha256_of(Secret(attempt)) if self.profile is Profile.ATTEMPT else None
        presented = Presented(token, ClientId(client_id or _CLIENT), attempt_digest=digest)
        decision = decide_refresh(
            FamilyAggregate(self.family, self.session, _USER),
            presented,
            now=NumericDate(int(_START + self.now)),
            rules=_RULES,
            fresh=FreshMaterial.of(self.dice.randbytes(64)),
        )
        for write in decision.writes:
            match write:
                case Put(Family() as family):
                    self.family = family
                case Put(DeviceSession() as session):
                    self.session = session
                case _:
                    pass
        return decision.result


@dataclass(frozen=True)
class Rates:
    """Of `runs` runs."""

    runs: int
    signed_out: int
    """Honest users who lost their session although there was no thief."""
    thief_alive: int
    """Thieves who still had access at the end."""
    thief_longest: float
    """Seconds, of any thief's access."""

    def __str__(self) -> str:
        return (
            f"{self.signed_out} of {self.runs} honest users signed out without a thief; "
            f"{self.thief_alive} of {self.runs} thieves alive after six hours, "
            f"the longest for {self.thief_longest:.0f} s"
        )


def simulate(make: Callable[[random.Random], Run], *, runs: int, seed: int = 1) -> Rates:
    """Play each story twice, without and with a thief. The same seed gives the same rates."""
    honest = [make(random.Random(f"{seed} honest {i}")).play(theft_at=None) for i in range(runs)]
    robbed = []
    for i in range(runs):
        dice = random.Random(f"{seed} robbed {i}")
        robbed.append(make(dice).play(theft_at=dice.uniform(0, 3600)))
    return Rates(
        runs,
        sum(run.signed_out for run in honest),
        sum(run.thief_alive for run in robbed),
        max(run.thief_seconds for run in robbed),
    )
