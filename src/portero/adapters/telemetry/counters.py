"""Counters in memory, in the Prometheus text format (version 0.0.4) when somebody asks.

Only what is bounded becomes a label: event names are a closed list, client ids are those an
operator registered; past `MOST_CLIENTS` further ones count together as `(other)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from portero.core.events import Event

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_CLIENTS = 1000


class Counters:
    """Events by name and client, answers by status. For one event loop: not for several threads."""

    __slots__ = ("_clients", "_events", "_responses")

    def __init__(self) -> None:
        self._events: Counter[tuple[str, str]] = Counter()
        self._responses: Counter[int] = Counter()
        self._clients: set[str] = set()

    def count_events(self, events: Iterable[Event]) -> None:
        """Count what was committed."""
        for event in events:
            self._events[event.name.value, self._bounded(event.client_id or "")] += 1

    def count_response(self, status: int) -> None:
        """Count one answer by its HTTP status."""
        self._responses[status] += 1

    def render(self) -> str:
        """Write all counters, sorted, for the scraper."""
        lines = [
            "# HELP portero_events_total Things that happened, by name and client.",
            "# TYPE portero_events_total counter",
        ]
        for (name, client), count in sorted(self._events.items()):
            lines.append(f'portero_events_total{{event="{name}",client="{_escaped(client)}"}} {count}')
        lines += [
            "# HELP portero_http_responses_total Answers, by HTTP status.",
            "# TYPE portero_http_responses_total counter",
        ]
        for status, count in sorted(self._responses.items()):
            lines.append(f'portero_http_responses_total{{status="{status}"}} {count}')
        return "\n".join(lines) + "\n"

    def _bounded(self, client_id: str) -> str:
        if client_id in self._clients:
            return client_id
        if len(self._clients) >= MOST_CLIENTS:
            return "(other)"
        self._clients.add(client_id)
        return client_id


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
