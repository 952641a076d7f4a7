"""The revocation feed's own numbers, in the Prometheus text format: who follows it, and how large it is."""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.hub import Hub
from portero.core.transitions import FeedSizeKey


async def feed_metrics(context: Context, hub: Hub) -> str:
    """Render the gauges of the feed.

    Raises:
        Unavailable: the store cannot be read.
    """
    size = await context.store.read(FeedSizeKey(context.now()))
    return "".join(
        (
            _gauge("portero_feed_subscribers", "Streams and long polls open at this server.", hub.subscribers),
            _gauge("portero_feed_entries", "Revocations that still matter.", size.live),
            _gauge("portero_feed_stored_entries", "Those, and what waits to be removed.", size.stored),
            _gauge("portero_feed_head", "The number of the newest revocation.", size.head),
        )
    )


def _gauge(name: str, text: str, value: float) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n"
