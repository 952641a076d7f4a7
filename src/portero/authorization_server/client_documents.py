"""Clients that are known by a document of theirs: fetched, judged, and believed for a while.

Errors are not kept (draft §4.4), so that a client whose document was away for a moment is not locked out.
"""

from __future__ import annotations

from collections import OrderedDict
from urllib.parse import urlsplit

from portero.adapters.fetch.judged import JudgedFetcher
from portero.adapters.telemetry.json_log import log
from portero.authorization_server.config import Config, is_loopback
from portero.core.errors import RequestError
from portero.core.oauth.client_document import METHODS, believed_for, client_of_document, is_document_url
from portero.core.oauth.client_metadata import RegistrationTerms
from portero.core.transitions import Client
from portero.core.types import ClientId, NumericDate
from portero.ports import Clock

MAX_KEPT = 1000


class FetchedDocuments:
    """The documents of clients nobody registered."""

    def __init__(self, config: Config, clock: Clock, fetcher: JudgedFetcher, *, algorithms: tuple[str, ...]) -> None:
        self._hosts = config.client_metadata_hosts
        self._insecure_loopback = is_loopback(urlsplit(config.issuer).hostname or "")
        self._clock = clock
        self._fetcher = fetcher
        self._terms = RegistrationTerms(config.registration_scopes, config.registration_audiences, METHODS, algorithms)
        self._kept: OrderedDict[ClientId, tuple[Client, float]] = OrderedDict()

    @property
    def origins(self) -> frozenset[str]:
        """The browser origins of the clients that were seen lately."""
        return frozenset(origin for client, _ in self._kept.values() for origin in client.allowed_origins)

    def concerns(self, client_id: ClientId) -> bool:
        """Say whether this is a client id of the kind that has a document."""
        return is_document_url(client_id, hosts=self._hosts, insecure_loopback=self._insecure_loopback)

    async def get(self, client_id: ClientId) -> Client | None:
        """Return the client as its document says, or None where that is not one.

        Raises:
            Unavailable: it cannot be fetched now.
        """
        kept = self._kept.get(client_id)
        if kept is not None and self._clock.monotonic() < kept[1]:
            return kept[0]
        status, headers, body = await self._fetcher.fetch(client_id)
        try:
            now = NumericDate(int(self._clock.now()))
            client = client_of_document(client_id, status=status, body=body, terms=self._terms, now=now)
        except RequestError as error:
            log("a client's document was refused", {"client_id": client_id, "detail": error.detail})
            self._kept.pop(client_id, None)
            return None
        self._kept[client_id] = (client, self._clock.monotonic() + believed_for(headers.get("cache-control")))
        self._kept.move_to_end(client_id)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return client
