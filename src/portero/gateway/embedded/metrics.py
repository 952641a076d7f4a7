"""What the workers know of themselves, added up, for Prometheus (text format 0.0.4), under every engine's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTED = ("responses", "refusals", "failures")


def added_up(snapshots: Iterable[Mapping[str, Any]], *, gone: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Make one snapshot of several workers'.

    Args:
        gone: the last words of workers that ended: what they counted is not forgotten.
    """
    living = list(snapshots)
    total: dict[str, Any] = {
        "ready": bool(living) and all(one["ready"] for one in living),
        "problems": sorted({problem for one in living for problem in one["problems"]})
        if living
        else ["no worker runs"],
        "connections": sum(one["connections"] for one in living),
        "revocations": _most(one["revocations"] for one in living),
        "feed_age": _most(one["feed_age"] for one in living),
        "log_dropped": sum(one["log_dropped"] for one in living),
    }
    for name in _COUNTED:
        counts: Counter[str] = Counter()
        for one in (*living, *gone):
            counts.update(one[name])
        total[name] = dict(counts)
    return total


def rendered(total: Mapping[str, Any]) -> bytes:
    """Write them for the scraper."""
    classes: Counter[str] = Counter()
    for status, count in total["responses"].items():
        classes[f"{status[0]}xx"] += count
    families: list[tuple[str, str, str, str, Mapping[str, float]]] = [
        ("ready", "gauge", "Whether keys and feeds are in.", "", {"": int(total["ready"])}),
        ("responses_total", "counter", "Answers, by class.", "class", classes),
        ("refusals_total", "counter", "Refusals, by case.", "case", total["refusals"]),
        ("upstream_failures_total", "counter", "Answers servers did not give.", "service", total["failures"]),
        ("connections", "gauge", "Connections of clients.", "", {"": total["connections"]}),
        ("revocations", "gauge", "Revocations that still matter.", "issuer", total["revocations"]),
        ("feed_age_seconds", "gauge", "Since the feed was complete.", "issuer", total["feed_age"]),
        ("log_dropped_total", "counter", "Access log lines nobody took.", "", {"": total["log_dropped"]}),
    ]
    lines = []
    for name, kind, says, label, values in families:
        lines += [f"# HELP portero_gateway_{name} {says}", f"# TYPE portero_gateway_{name} {kind}"]
        for value, number in sorted(values.items()):
            labels = f'{{{label}="{_escaped(value)}"}}' if label else ""
            lines.append(f"portero_gateway_{name}{labels} {number:g}" if isinstance(number, float) else
                         f"portero_gateway_{name}{labels} {number}")  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _most(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    most: dict[str, float] = {}
    for table in tables:
        for key, value in table.items():
            most[key] = max(value, most.get(key, 0))
    return most


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
