"""Connections that outlive the request: closed when their token expires or is revoked (design §3.5).

A WebSocket, an event stream or a gRPC stream is admitted once and may stay for hours. Each
is registered here with what its token is called; a revocation finds it in one lookup.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import EXPIRED, REVOKED, Refusal
from portero.core.revocation.entry import Revocation, RevokedKind

T = TypeVar("T")
WhenOver = Callable[[Refusal], None]

_log = logging.getLogger("portero.connections")


class OpenConnection:
    """One registration. `forget()` ends it; `when_over` is called at most once, from the feed's thread."""

    __slots__ = ("_keys", "_registry", "_when_over")

    def __init__(self, registry: OpenConnections, keys: tuple[_Key, ...], when_over: WhenOver) -> None:
        self._registry = registry
        self._keys = keys
        self._when_over: WhenOver | None = when_over

    def end(self, refusal: Refusal) -> None:
        """The token is over: tell the connection, once."""
        when_over, self._when_over = self._when_over, None
        self.forget()
        if when_over is not None:
            when_over(refusal)

    def end_from_any_thread(self, refusal: Refusal) -> None:
        """As `end`, from the thread that follows the feed."""
        self.end(refusal)

    def forget(self) -> None:
        """The connection closed by itself."""
        self._when_over = None
        self._registry.remove(self, self._keys)


class OpenOnLoop(OpenConnection):
    """A registration of the running event loop: told there, and told of the token's end, too."""

    __slots__ = ("_loop", "_timer")

    def __init__(
        self, registry: OpenConnections, keys: tuple[_Key, ...], when_over: WhenOver, *, ends_in: float
    ) -> None:
        super().__init__(registry, keys, when_over)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(max(0.0, ends_in), self.end, EXPIRED)

    def end_from_any_thread(self, refusal: Refusal) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.end, refusal)

    def forget(self) -> None:
        self._timer.cancel()
        super().forget()


_Key = tuple[str, RevokedKind, str]


class OpenConnections:
    """All of one Guard."""

    __slots__ = ("_by_key", "_lock", "listeners")

    def __init__(self) -> None:
        self.listeners: list[Callable[[Sequence[Revocation]], None]] = []
        """Told what came, from the thread that follows the feed: for who keeps a list elsewhere."""
        self._by_key: dict[_Key, set[OpenConnection]] = {}
        # A set that one thread empties and drops must not be the one another just added to.
        self._lock = threading.Lock()

    def watch(self, principal: Principal, when_over: WhenOver, *, ends_in: float) -> OpenConnection:
        """Register a connection of the running event loop.

        Args:
            principal: of the token that opened it.
            when_over: told the reason when it must close; must not block.
            ends_in: seconds until the token is no longer accepted.
        """
        keys = _keys_of(principal)
        return self._added(OpenOnLoop(self, keys, when_over, ends_in=ends_in), keys)

    def watch_in_thread(self, principal: Principal, when_over: WhenOver) -> OpenConnection:
        """Register a connection that a thread serves, which looks after the token's end itself.

        A revocation may have arrived between the check and this call: check once more afterwards.
        """
        keys = _keys_of(principal)
        return self._added(OpenConnection(self, keys, when_over), keys)

    def revoked(self, revocations: Iterable[Revocation]) -> None:
        """Close what these revocations concern. From any thread."""
        if not self._by_key and not self.listeners:
            return  # the usual case at a first snapshot, which is read for whoever looks at it
        came = tuple(revocations)
        for revocation in came:
            with self._lock:
                concerned = tuple(self._by_key.get((revocation.iss, revocation.kind, revocation.value), ()))
            for connection in concerned:
                _tell(connection.end_from_any_thread, REVOKED)
        for listener in tuple(self.listeners):
            _tell(listener, came)

    def remove(self, connection: OpenConnection, keys: tuple[_Key, ...]) -> None:
        """Forget one registration."""
        with self._lock:
            for key in keys:
                same = self._by_key.get(key)
                if same is not None:
                    same.discard(connection)
                    if not same:
                        del self._by_key[key]

    def _added(self, connection: OpenConnection, keys: tuple[_Key, ...]) -> OpenConnection:
        with self._lock:
            for key in keys:
                self._by_key.setdefault(key, set()).add(connection)
        return connection


def _tell(told: Callable[[T], None], what: T) -> None:
    # One that cannot be told keeps nothing from the others: the feed will not say it again.
    try:
        told(what)
    except Exception:
        _log.exception("a connection could not be told that its token is over")


def _keys_of(principal: Principal) -> tuple[_Key, ...]:
    named = (
        (RevokedKind.SESSION, principal.sid),
        (RevokedKind.TOKEN, principal.jti),
        (RevokedKind.CLIENT, principal.client_id),
        (RevokedKind.KEY, principal.kid),
    )
    return tuple((principal.issuer, kind, value) for kind, value in named if value is not None)
