"""Envoy's counters under the names every engine uses, in the text format of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from portero.gateway.guards import GatewayGuards

WANTED = r"^(http.gateway.downstream_rq_[1-5]xx|http.gateway.downstream_cx_active|cluster.service.*)$"
"""Which of Envoy's are asked for."""
_RESPONSES = re.compile(r"http\.gateway\.downstream_rq_([1-5]xx)")
_FAILURES = re.compile(
    r"cluster\.service\.(.+)\.(?:upstream_rq_5xx|upstream_cx_connect_fail|upstream_rq_timeout|upstream_rq_rx_reset)"
)


def render(stats: Mapping[str, int], guards: GatewayGuards, *, ready: bool) -> bytes:
    """Write all of it.

    Args:
        stats: Envoy's, by name (`WANTED`).
        guards: whose feeds these are.
        ready: as `/readyz` says.
    """
    lines = list(_gauge("ready", "Whether requests are served.", [("", int(ready))]))
    classes = [
        (f'{{class="{found[1]}"}}', value)
        for name, value in sorted(stats.items())
        if (found := _RESPONSES.fullmatch(name)) is not None
    ]
    lines += _counter("responses_total", "Answers, by class of status.", classes)
    failures: dict[str, int] = {}
    for name, value in stats.items():
        if (found := _FAILURES.fullmatch(name)) is not None:
            failures[found[1]] = failures.get(found[1], 0) + value
    lines += _counter(
        "upstream_failures_total",
        "Requests an upstream did not answer, or with 5xx.",
        [(f'{{service="{service}"}}', value) for service, value in sorted(failures.items())],
    )
    lines += _gauge("connections", "Open connections.", [("", stats.get("http.gateway.downstream_cx_active", 0))])
    host = guards.host
    revoked, ages = [], []
    for issuer, age in sorted(host.staleness().items()):
        subscription = host.trust(issuer).subscription
        revoked.append((f'{{issuer="{issuer}"}}', 0 if subscription is None else len(subscription.revoked)))
        ages.append((f'{{issuer="{issuer}"}}', round(min(age, 1e9), 3)))
    lines += _gauge("revocations", "What is taken back and could still be presented.", revoked)
    lines += _gauge("feed_age_seconds", "Since when the feed was known to be complete.", ages)
    return ("\n".join(lines) + "\n").encode()


def _counter(name: str, says: str, values: Iterable[tuple[str, float]]) -> Iterable[str]:
    return _family(name, says, "counter", values)


def _gauge(name: str, says: str, values: Iterable[tuple[str, float]]) -> Iterable[str]:
    return _family(name, says, "gauge", values)


def _family(name: str, says: str, kind: str, values: Iterable[tuple[str, float]]) -> Iterable[str]:
    yield f"# HELP portero_gateway_{name} {says}"
    yield f"# TYPE portero_gateway_{name} {kind}"
    for labels, value in values:
        yield f"portero_gateway_{name}{labels} {value}"
