"""`GET /jwks`: the public JWK Set (RFC 7517 §5)."""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.exchange import Handler, Request
from portero.authorization_server.endpoints.responses import Answer, cacheable_json

SHORTEST_MAX_AGE = 5
"""Seconds; where an operator publishes no time ahead, a crowd of verifiers still shares an answer."""


def jwks(context: Context) -> Handler:
    """Make the handler.

    A verifier that keeps the set for `max-age` has every new key before it signs, because
    a key is published `key_publish_ahead` before that; a third of it leaves room for caches
    in between and for retries.
    """
    max_age = max(SHORTEST_MAX_AGE, int(context.config.key_publish_ahead.total_seconds()) // 3)

    async def handle(request: Request) -> Answer:
        await context.key_ring.keep_up()
        return cacheable_json(context.key_ring.jwk_set(), max_age=max_age)

    return handle
