"""What the core asks of the world. Adapters are chosen in composition roots only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from portero.core.transitions import Decision, Key
from portero.core.types import NumericDate, Secret

A = TypeVar("A")
R = TypeVar("R")


class Clock(Protocol):
    """Where `now` comes from, at the edge; `core` receives it as an argument."""

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z, UTC, with a fraction."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class Random(Protocol):
    """Where randomness comes from, at the edge."""

    def bytes(self, n: int) -> bytes:
        """`n` bytes from a cryptographically secure source."""
        ...


class Store(Protocol):
    """Durable records behind one serialized step. `portero.testing.store_conformance` is the law of every adapter."""

    async def read(self, key: Key[A]) -> A:
        """Load the aggregate `key` names, as committed.

        Raises:
            Unavailable: the store cannot be reached.
        """
        ...

    async def transition(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        """Load, decide and commit as one serialized step; return the decision's result once durable.

        `decide` is pure and may run more than once; only the last run's writes are committed.
        An exception from `decide` propagates and nothing of it is committed. Each commit also
        deletes a few records that expired before `now`. Two transitions that touch the same
        device session, code, key ring or replay mark never interleave.

        Raises:
            Unavailable: not committed, or (connection lost at commit) unknown; a retry is safe
                because the decisions are.
        """
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield whenever the feed may have grown, whoever wrote (a wake-up only; the data is read with `FeedKey`)."""
        ...

    async def aclose(self) -> None:
        """Finish what was accepted, then let go of files and connections."""
        ...


class PasswordHasher(Protocol):
    """argon2id behind a bound on concurrent work."""

    async def hash(self, password: Secret[str]) -> str:
        """Return a PHC string."""
        ...

    async def verify(self, password: Secret[str], phc: str | None) -> bool:
        """Check; `None` does the same work and answers False, so that an unknown user takes as long as a known one."""
        ...
