"""Following an issuer's revocations: snapshot, then stream, resumed after any cut (design §3.3).

A state machine without I/O. A driver asks `next_step()`, does it, and reports what came
(`took_snapshot`, `took_event`) or that it failed (`broke`). Nothing is lost on the way:

- the cursor moves only with what was taken in, so that a resumed stream starts right after it;
- taking an entry in twice changes nothing, so that overlap is harmless;
- an unknown epoch (the issuer's database was restored) means a new snapshot, and what was
  known before stays known until its time;
- a stream that is silent for longer than `stale_after` is given up, because a half-open
  connection never says that it is dead.

Randomness for the back-off is an argument; so is time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from portero.core.revocation.delays import Delays
from portero.core.revocation.entry import Revocation
from portero.core.revocation.snapshot import NotAFeed, Snapshot, fields_of, object_of, revocation_of
from portero.core.revocation.staleness import Freshness
from portero.core.revocation.subscription_set import RevokedSet
from portero.core.revocation.subscription_stream import StreamEvent
from portero.core.types import Issuer, NumericDate

__all__ = ["Follow", "NotAFeed", "Resnapshot", "Step", "Subscription", "TakeSnapshot"]

SHORTEST_BACKOFF = 0.2
"""Seconds before the first retry, times 0.5 to 1.5."""
LONGEST_BACKOFF = 5.0
"""Half of the default `stale_after`: an issuer that is back is found before routes refuse."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Do `GET /revocations/snapshot`."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Do `GET /revocations/stream?after=<after>` and report each event."""

    after: str


Step = TakeSnapshot | Follow


@dataclass(frozen=True, slots=True)
class Resnapshot:
    """The stream is of another epoch: leave it and ask for the next step."""


class Subscription:
    """One issuer's feed, as one subscriber knows it.

    Args:
        issuer: whose feed this is; entries of others are left out.
        stale_after: seconds of silence after which knowledge counts as stale.
        leeway: seconds by which the clocks may differ; beyond it, `alarms` says so.
    """

    __slots__ = (
        "_epoch", "_failures", "_n", "delays", "freshness", "issuer", "leeway", "problem", "revoked", "stale_after",
    )  # fmt: skip

    def __init__(self, issuer: Issuer, *, stale_after: float, leeway: float = 60.0) -> None:
        self.issuer = issuer
        self.stale_after = stale_after
        self.leeway = leeway
        self.delays = Delays()
        """From cause to here, of what came while the feed was followed."""
        self.revoked = RevokedSet(issuer)
        self.freshness = Freshness()
        self.problem = ""
        """Why the last step failed, for the log and the readiness probe; empty while all is well."""
        self._epoch: str | None = None
        self._n = -1
        self._failures = 0

    @property
    def cursor(self) -> str | None:
        """Where the stream resumes; `None` before the first snapshot."""
        return None if self._epoch is None else f"{self._epoch}:{self._n}"

    @property
    def has_snapshot(self) -> bool:
        """Whether anything is known at all."""
        return self.freshness.known_at != -math.inf

    def stale(self, monotonic: float) -> bool:
        """Whether a route that says `when_stale = "deny"` refuses now."""
        return monotonic - self.freshness.known_at > self.stale_after

    def alarms(self, *, monotonic: float, time: float) -> list[str]:
        """What an operator should look at now, although requests are served. Without secrets.

        Args:
            monotonic, time: now, on our two clocks.
        """
        alarms = []
        if self.has_snapshot and self.stale(monotonic):
            why = f": {self.problem}" if self.problem else ""
            age = self.freshness.age(monotonic)
            alarms.append(f"nothing new was heard of the feed of {self.issuer} for {age:.0f} s{why}")
        skew = self.freshness.skew(monotonic=monotonic, time=time)
        if skew is not None and abs(skew) > self.leeway:
            alarms.append(
                f"the clock of {self.issuer} is {skew:+.0f} s off this machine's, more than the leeway of "
                f"{self.leeway:.0f} s: a revoked token may be accepted, or a good one refused; synchronize both (NTP)"
            )
        return alarms

    def next_step(self) -> Step:
        """What to do now."""
        cursor = self.cursor
        return TakeSnapshot() if cursor is None else Follow(cursor)

    def took_snapshot(self, body: bytes, *, asked_at: float, now: NumericDate) -> Iterable[Revocation]:
        """Take in a snapshot's body; return what was new (of a first one read anew when it is looked at).

        Args:
            body: JSON, `{"cursor", "time", "entries": [...]}`, of a relay with the `age` of what it knows.
            asked_at: monotonic time before the request was sent.
            now: wall-clock second, for forgetting what is over.

        Raises:
            NotAFeed: nothing was taken in.
        """
        try:
            snapshot, new = self._taken(Snapshot(body), now=now)
        except NotAFeed:
            snapshot, new = self._taken(Snapshot(body, whole=True), now=now)
        (epoch, n), age = _cursor(snapshot.head.get("cursor")), _age(snapshot.head)
        self._epoch, self._n = epoch, n
        self.freshness.snapshot(asked_at=asked_at - age)
        self._went_well()
        return new

    def _taken(self, snapshot: Snapshot, *, now: NumericDate) -> tuple[Snapshot, Iterable[Revocation]]:
        # Nothing is taken in before everything was looked at.
        _cursor(snapshot.head.get("cursor"))
        _age(snapshot.head)
        if not len(self.revoked):
            self.revoked.fill(snapshot.fields(), now=now)
            return snapshot, snapshot.revocations()
        revocations = list(snapshot.revocations())
        self.revoked.prune(now)
        return snapshot, [revocation for revocation in revocations if self.revoked.add(revocation)]

    def connected(self) -> None:
        """The stream was opened."""
        self.freshness.connected()

    def took_event(self, event: StreamEvent, *, arrived: float, now: NumericDate) -> list[Revocation] | Resnapshot:
        """Take in one event of the stream; return what was new, or that the stream must be left.

        Args:
            event: complete.
            arrived: monotonic time at which it was read.
            now: wall-clock second.

        Raises:
            NotAFeed: nothing of the event was taken in.
        """
        if event.event not in {"revocation", "heartbeat"}:
            return []
        document = object_of(event.data)
        epoch, n = _cursor(document.get("cursor"))
        if epoch != self._epoch:
            self._epoch = None
            return Resnapshot()
        new: list[Revocation] = []
        if event.event == "revocation":
            revocation = revocation_of(fields_of(document))
            if self.revoked.add(revocation):
                new.append(revocation)
        else:
            time = document.get("time")
            if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
                raise NotAFeed("a heartbeat without its time")
            self.freshness.heartbeat(time=float(time), arrived=arrived, age=_age(document))
            self.revoked.prune(now)
        self._n = max(self._n, n)
        self._went_well()
        return new

    def refused_cursor(self) -> None:
        """The server does not know our cursor (any more): the next step is a snapshot."""
        self._epoch = None

    def broke(self, problem: str, *, jitter: float) -> float:
        """The step failed or the stream ended.

        Args:
            problem: what went wrong, without secrets.
            jitter: in [0, 1), so that a crowd of subscribers does not come back at once.

        Returns:
            Seconds to wait before the next step.
        """
        self.problem = problem
        delay = min(LONGEST_BACKOFF, SHORTEST_BACKOFF * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return delay * (0.5 + jitter)

    def _went_well(self) -> None:
        self.problem = ""
        self._failures = 0


def _cursor(value: Any) -> tuple[str, int]:
    epoch, _, n = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not epoch or not (n.isascii() and n.isdigit() and len(n) <= 18):
        raise NotAFeed("a cursor that is not <epoch>:<n>")
    return epoch, int(n)


def _age(document: dict[str, Any]) -> float:
    age = document.get("age", 0)
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age < math.inf:
        raise NotAFeed("an age that is no number of seconds")
    return float(age)
