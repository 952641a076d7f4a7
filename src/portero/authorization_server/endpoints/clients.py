"""Registered clients, kept in memory for a second.

A token request needs its client before it can touch the store. One second is the bound on
how long a disabled client is still served (and the same on every server of a fleet, since
no message is needed); see decision 0041.
"""

from __future__ import annotations

from dataclasses import dataclass

from portero.authorization_server.context import ClientDocuments, find_client
from portero.core.transitions import Client, ClientsKey
from portero.core.types import ClientId
from portero.ports import Clock, Store

VALIDITY = 1.0
"""Seconds a client read from the store is believed."""
ORIGINS_VALIDITY = 5.0
"""Seconds for the set of all origins: it decides who may read a refusal, nothing more."""
MAX_CLIENTS = 10_000
"""Clients kept; past it the memory is emptied, so that it stays bounded."""


@dataclass(frozen=True, slots=True)
class _Known:
    client: Client
    until: float


class Clients:
    """Reads clients through a short memory. Unknown ones are not remembered: an attacker names as many as he likes."""

    def __init__(self, store: Store, clock: Clock, documents: ClientDocuments | None = None) -> None:
        self._store = store
        self._documents = documents
        self._clock = clock
        self._known: dict[ClientId, _Known] = {}
        self.known_origins: frozenset[str] = frozenset()
        """The origins as last read; for when the store cannot be reached."""
        self._origins_until = float("-inf")

    async def get(self, client_id: ClientId) -> Client | None:
        """Return the client as it was at most `VALIDITY` seconds ago, or None.

        Raises:
            Unavailable: the store cannot be reached.
        """
        now = self._clock.monotonic()
        known = self._known.get(client_id)
        if known is not None and now < known.until:
            return known.client
        client = await find_client(self._store, self._documents, client_id)
        if client is None:
            self._known.pop(client_id, None)
            return None
        if len(self._known) >= MAX_CLIENTS:
            self._known.clear()
        self._known[client_id] = _Known(client, now + VALIDITY)
        return client

    async def origins(self) -> frozenset[str]:
        """Return the browser origins of all enabled clients.

        Raises:
            Unavailable: the store cannot be reached.
        """
        now = self._clock.monotonic()
        if now >= self._origins_until:
            clients = await self._store.read(ClientsKey())
            self.known_origins = frozenset(origin for c in clients if c.enabled for origin in c.allowed_origins)
            self._origins_until = now + ORIGINS_VALIDITY
        return self.known_origins if self._documents is None else self.known_origins | self._documents.origins
