"""What the services have in common: how their Guard is made."""

from __future__ import annotations

from examples.shop.settings import FEED_CLIENT_ID, Settings
from portero.core.types import Secret
from portero.resource_server import Guard, RevocationFeed
from portero.testing.shared_clock import SharedClock


def guard_for(shop: Settings, audience: str) -> Guard:
    """A Guard that trusts the shop's authorization server and follows its revocations."""
    return Guard(
        issuers=[shop.issuer],
        audience=audience,
        revocation=RevocationFeed(client_id=FEED_CLIENT_ID, client_secret=Secret(shop.feed_secret)),
        cors_origins=[shop.page],
        clock=SharedClock(shop.clock_file),
    )
