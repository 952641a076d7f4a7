"""What a subscriber knows of its feeds, in the Prometheus text format: `Guard.metrics()` and the relay's own."""

from __future__ import annotations

from collections.abc import Iterable

from portero.core.revocation.subscription import Subscription

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_metrics(subscriptions: Iterable[Subscription], *, monotonic: float, time: float) -> str:
    """Render the metrics of these feeds, each labelled with its issuer.

    Args:
        monotonic: now, on the clock of the drivers.
        time: now, in seconds since 1970-01-01T00:00:00Z, UTC, with a fraction.
    """
    feeds = list(subscriptions)
    lines = _histogram(feeds)
    lines += _gauges(
        "portero_feed_staleness_seconds",
        "Seconds since the feed was known to be complete.",
        {feed: feed.freshness.age(monotonic) for feed in feeds},
    )
    lines += _gauges(
        "portero_feed_stale",
        "Whether routes that refuse when stale refuse now.",
        {feed: float(feed.stale(monotonic)) for feed in feeds},
    )
    lines += _gauges("portero_feed_known_entries", "Revocations that still matter.", {f: len(f.revoked) for f in feeds})
    lines += _gauges(
        "portero_clock_skew_seconds",
        "The feed's clock, less this machine's.",
        {feed: skew for feed in feeds if (skew := feed.freshness.skew(monotonic=monotonic, time=time)) is not None},
    )
    return "\n".join(lines) + "\n"


def _histogram(feeds: list[Subscription]) -> list[str]:
    name = "portero_revocation_delay_seconds"
    lines = [f"# HELP {name} From a revocation's cause until it held here, by the event's own time."]
    lines.append(f"# TYPE {name} histogram")
    for feed in feeds:
        label = f'issuer="{_escaped(feed.issuer)}"'
        for bound, count in feed.delays.cumulative():
            lines.append(f'{name}_bucket{{{label},le="{bound}"}} {count}')
        lines.append(f"{name}_sum{{{label}}} {feed.delays.sum:.6f}")
        lines.append(f"{name}_count{{{label}}} {feed.delays.count}")
    return lines


def _gauges(name: str, text: str, values: dict[Subscription, float]) -> list[str]:
    return [
        f"# HELP {name} {text}",
        f"# TYPE {name} gauge",
        *(f'{name}{{issuer="{_escaped(feed.issuer)}"}} {_number(value)}' for feed, value in values.items()),
    ]


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else f"{value:g}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
