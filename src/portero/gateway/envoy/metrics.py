"""Envoy's counters under the names every engine uses, in the text format of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from portero.core.policy.refusal import Case
from portero.gateway.envoy.access_log import COUNTED
from portero.gateway.guards import GatewayGuards

_DROPPED = "filesystem.write_failed"
WANTED = rf"^(http.gateway.downstream_(rq_[1-5]xx|cx_active)|cluster.service.*|{COUNTED}.*|{_DROPPED})$"
"""Which of Envoy's are asked for."""
_RESPONSES = re.compile(r"http\.gateway\.downstream_rq_([1-5]xx)")
_FAILURES = re.compile(
    r"cluster\.service\.(.+)\.upstream_"
    r"(?:cx_connect_fail|cx_protocol_error|cx_destroy_remote_with_active_rq|rq_timeout|rq_rx_reset)"
)
_CASES = sorted(case.value for case in Case)


def render(stats: Mapping[str, int], guards: GatewayGuards, *, ready: bool) -> bytes:
    """Write all of it.

    Args:
        stats: Envoy's, by name (`WANTED`).
        guards: whose feeds these are.
        ready: as `/readyz` says.
    """
    lines = list(_gauge("ready", "Whether keys and feeds are in.", [("", int(ready))]))
    classes = [
        (f'{{class="{found[1]}"}}', value)
        for name, value in sorted(stats.items())
        if (found := _RESPONSES.fullmatch(name)) is not None
    ]
    lines += _counter("responses_total", "Answers, by class.", classes)
    refusals = [(f'{{case="{case}"}}', stats[COUNTED + case]) for case in _CASES if COUNTED + case in stats]
    lines += _counter("refusals_total", "Refusals, by case.", refusals)
    failures: dict[str, int] = {}
    for name, value in stats.items():
        if (found := _FAILURES.fullmatch(name)) is not None:
            failures[found[1]] = failures.get(found[1], 0) + value
    lines += _counter(
        "upstream_failures_total",
        "Answers servers did not give.",
        [(f'{{service="{service}"}}', value) for service, value in sorted(failures.items())],
    )
    lines += _gauge("connections", "Connections of clients.", [("", stats.get("http.gateway.downstream_cx_active", 0))])
    host = guards.host
    revoked, ages = [], []
    for issuer, age in sorted(host.staleness().items()):
        subscription = host.trust(issuer).subscription
        revoked.append((f'{{issuer="{issuer}"}}', 0 if subscription is None else len(subscription.revoked)))
        ages.append((f'{{issuer="{issuer}"}}', round(min(age, 1e9), 3)))
    lines += _gauge("revocations", "Revocations that still matter.", revoked)
    lines += _gauge("feed_age_seconds", "Since the feed was complete.", ages)
    lines += _counter("log_dropped_total", "Access log lines nobody took.", [("", stats.get(_DROPPED, 0))])
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
