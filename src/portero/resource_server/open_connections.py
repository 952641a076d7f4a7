"""Connections that outlive the request: closed when their token expires or is revoked (design §3.5).

A WebSocket, an event stream or a gRPC stream is admitted once and may stay for hours. Each
is registered here with what its token is called; a revocation finds it in one lookup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import EXPIRED, REVOKED, Refusal
from portero.core.revocation.entry import Revocation, RevokedKind

WhenOver = Callable[[Refusal], None]


class OpenConnection:
    """One registration. `forget()` ends it; `when_over` is called at most once."""

    __slots__ = ("_keys", "_loop", "_registry", "_timer", "_when_over")

    def __init__(
        self, registry: OpenConnections, keys: tuple[_Key, ...], when_over: WhenOver, *, ends_in: float
    ) -> None:
        self._registry = registry
        self._keys = keys
        self._when_over: WhenOver | None = when_over
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(max(0.0, ends_in), self.end, EXPIRED)

    def end(self, refusal: Refusal) -> None:
        """The token is over: tell the connection, once. To be called from its loop's thread."""
        when_over, self._when_over = self._when_over, None
        self.forget()
        if when_over is not None:
            when_over(refusal)

    def end_from_any_thread(self, refusal: Refusal) -> None:
        """As `end`, from the thread that follows the feed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.end, refusal)

    def forget(self) -> None:
        """The connection closed by itself."""
        self._timer.cancel()
        self._when_over = None
        self._registry.remove(self, self._keys)


_Key = tuple[str, RevokedKind, str]


class OpenConnections:
    """All of one Guard."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[_Key, set[OpenConnection]] = {}

    def watch(self, principal: Principal, when_over: WhenOver, *, ends_in: float) -> OpenConnection:
        """Register a connection of the running event loop.

        Args:
            principal: of the token that opened it.
            when_over: told the reason when it must close; must not block.
            ends_in: seconds until the token is no longer accepted.
        """
        keys = _keys_of(principal)
        connection = OpenConnection(self, keys, when_over, ends_in=ends_in)
        for key in keys:
            self._by_key.setdefault(key, set()).add(connection)
        return connection

    def revoked(self, revocations: Iterable[Revocation]) -> None:
        """Close what these revocations concern. From any thread."""
        for revocation in revocations:
            for connection in tuple(self._by_key.get((revocation.iss, revocation.kind, revocation.value), ())):
                connection.end_from_any_thread(REVOKED)

    def remove(self, connection: OpenConnection, keys: tuple[_Key, ...]) -> None:
        """Forget one registration."""
        for key in keys:
            same = self._by_key.get(key)
            if same is not None:
                same.discard(connection)
                if not same:
                    self._by_key.pop(key, None)


def _keys_of(principal: Principal) -> tuple[_Key, ...]:
    named = (
        (RevokedKind.SESSION, principal.sid),
        (RevokedKind.TOKEN, principal.jti),
        (RevokedKind.CLIENT, principal.client_id),
        (RevokedKind.KEY, principal.kid),
    )
    return tuple((principal.issuer, kind, value) for kind, value in named if value is not None)
