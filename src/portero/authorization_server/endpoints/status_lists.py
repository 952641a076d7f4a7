"""`GET /status-lists/<number>`: a Token Status List as a signed JWT (draft-ietf-oauth-status-list-21 §8); and which
lists there are, at `/status-lists` (§9.3). Public and cacheable; off unless configured.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import orjson

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import Answer, cacheable_json, not_found
from portero.core.oauth.metadata import STATUS_LISTS, Endpoints
from portero.core.revocation.status_list import COUNTER, LIST_SIZE, MEDIA_TYPE, TTL, TYP, list_claims, list_uri
from portero.core.transitions import CounterKey, EndedIndexesKey
from portero.core.types import Issuer

FRESH_SECONDS = 1.0
"""How long one signed list is handed out again: a crowd of verifiers costs one reading and one signature a second."""
_REMEMBERED = 64

_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")


class StatusLists:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._issuer = Issuer(context.config.issuer)
        self._base = Endpoints.of(self._issuer).url(STATUS_LISTS)
        self._signed: OrderedDict[int, tuple[float, bytes]] = OrderedDict()

    async def listed(self, request: Request) -> Answer:
        """All lists in which an index was given out."""
        count = await self._count()
        uris = [list_uri(number, base=self._base) for number in range(count)]
        return cacheable_json(orjson.dumps({"status_lists": uris}), max_age=TTL)

    async def one(self, request: Request) -> Answer:
        """One list."""
        name = request.path.rpartition("/")[2]
        if not _NUMBER.fullmatch(name):
            return not_found()
        number, monotonic = int(name), self._context.clock.monotonic()
        known = self._signed.get(number)
        if known is None or monotonic >= known[0] + FRESH_SECONDS:
            if number >= await self._count():
                return not_found()
            known = self._signed[number] = (monotonic, await self._sign(number))
            self._signed.move_to_end(number)
            if len(self._signed) > _REMEMBERED:
                self._signed.popitem(last=False)
        headers = (
            (b"content-type", MEDIA_TYPE.encode()),
            (b"cache-control", b"public, max-age=%d" % TTL),
            (b"x-content-type-options", b"nosniff"),
        )
        return Answer(200, headers, known[1])

    async def _sign(self, number: int) -> bytes:
        context = self._context
        await context.key_ring.keep_up()
        ended = await context.store.read(EndedIndexesKey(number * LIST_SIZE, LIST_SIZE))
        return context.key_ring.sign(
            list_claims(number, ended, issuer=self._issuer, base=self._base, now=context.now()), typ=TYP
        ).encode()

    async def _count(self) -> int:
        return -(-await self._context.store.read(CounterKey(COUNTER)) // LIST_SIZE)
