"""What the services have in common: how their Guard is made. The manifest says where requests are checked."""

from __future__ import annotations

from examples.shop.manifest import ENVIRON_NAME
from examples.shop.settings import Settings
from portero.resource_server import Guard
from portero.resource_server.manifest import from_manifest
from portero.testing.shared_clock import SharedClock


def guard_for(shop: Settings, service: str) -> Guard:
    """The Guard of one service: in the layout `gateway` it believes the gateway alone, else the shop's tokens."""
    return from_manifest(
        shop.manifest_file,
        service=service,
        environ={ENVIRON_NAME: shop.feed_secret},
        look_every=None,
        clock=SharedClock(shop.clock_file),
    ).guard
