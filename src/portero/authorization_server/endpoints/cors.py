"""Which browser origins may read an answer (Fetch standard, CORS; design §3.5).

A preflight is answered before anything else and only says who may ask; an answer's headers
say who may read it. Without them on refusals a browser sees a network error, and no
refresh ever starts.
"""

from __future__ import annotations

from enum import Enum

from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.responses import Answer, Headers
from portero.core.errors import Unavailable

EXPOSED = b"WWW-Authenticate, Retry-After, Date, DPoP-Nonce"
ALLOWED_REQUEST_HEADERS = b"Authorization, Content-Type, DPoP"
PREFLIGHT_SECONDS = 600

_VARY: Headers = ((b"vary", b"Origin"),)
_EXPOSE: Headers = ((b"access-control-expose-headers", EXPOSED),)


class Audience(Enum):
    """Whose scripts an endpoint is for."""

    NOBODY = "nobody"
    """Servers only; a browser never needs it."""
    EVERYBODY = "everybody"
    """Public documents: `*`."""
    REGISTERED = "registered"
    """The origins of registered clients."""


async def preflight(audience: Audience, *, origin: str | None, allow: str, clients: Clients) -> Answer:
    """Answer `OPTIONS`: 204, with permission where the origin has it, and the methods in any case."""
    headers: Headers = ((b"allow", allow.encode("ascii")),)
    permitted = await _permitted(audience, origin=origin, clients=clients)
    if permitted is not None:
        headers = (
            *headers,
            (b"access-control-allow-origin", permitted),
            (b"access-control-allow-methods", allow.encode("ascii")),
            (b"access-control-allow-headers", ALLOWED_REQUEST_HEADERS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
        )
    return Answer(204, headers + (_VARY if audience is Audience.REGISTERED else ()))


async def readable(answer: Answer, audience: Audience, *, origin: str | None, clients: Clients) -> Answer:
    """Return the answer with the headers that let its reader read it."""
    if audience is Audience.NOBODY:
        return answer
    if audience is Audience.EVERYBODY:
        return answer.with_headers(((b"access-control-allow-origin", b"*"), *_EXPOSE))
    if origin is None:
        return answer.with_headers(_VARY)
    if answer.origins is not None:
        permitted = origin.encode("latin-1") if origin in answer.origins else None
    else:
        permitted = await _permitted(audience, origin=origin, clients=clients)
    if permitted is None:
        return answer.with_headers(_VARY)
    return answer.with_headers(((b"access-control-allow-origin", permitted), *_EXPOSE, *_VARY))


async def _permitted(audience: Audience, *, origin: str | None, clients: Clients) -> bytes | None:
    if audience is Audience.EVERYBODY:
        return b"*"
    if audience is Audience.NOBODY or origin is None:
        return None
    try:
        origins = await clients.origins()
    except Unavailable:
        # The 503 itself should still be readable by whoever was known a moment ago.
        origins = clients.known_origins
    return origin.encode("latin-1") if origin in origins else None
