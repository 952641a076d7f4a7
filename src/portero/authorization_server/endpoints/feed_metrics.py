"""The revocation feed's own numbers, in the Prometheus text format: who follows it, and how large it is."""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.hub import Hub


async def feed_metrics(context: Context, hub: Hub) -> str:
    """Render the gauges of the feed."""
    return _gauge("portero_feed_subscribers", "Streams and long polls open at this server.", hub.subscribers)


def _gauge(name: str, text: str, value: float) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n"
