"""Counters in memory, in the Prometheus text format (version 0.0.4) when somebody asks.

Only what is bounded becomes a label: event names are a closed list, client ids are those an
operator registered; past `MOST_CLIENTS` further ones count together as `(other)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from portero.core.events import Event, EventName

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_CLIENTS = 1000

OUTCOMES = {
    EventName.REFRESH_ROTATED: "rotated",
    EventName.REFRESH_UNCHANGED: "unchanged",
    EventName.REFRESH_RETRIED: "retried",
    EventName.REFRESH_SOFT_DENIED: "soft_denied",
    EventName.REFRESH_REUSED: "stolen",
    EventName.REFRESH_REFUSED: "refused",
    EventName.REFRESH_AHEAD: "ahead_of_head",
}
"""What a refresh came to. A soft denial that proved nothing and came in time is `raced`: another tab was faster."""
_REASONED = frozenset({"soft_denied", "stolen", "refused", "ahead_of_head"})


class Counters:
    """Events by name and client, answers by status. For one event loop: not for several threads."""

    __slots__ = ("_clients", "_events", "_limited", "_refreshes", "_responses")

    def __init__(self) -> None:
        self._events: Counter[tuple[str, str]] = Counter()
        self._refreshes: Counter[tuple[str, str, str]] = Counter()
        self._limited: Counter[tuple[str, str]] = Counter()
        self._responses: Counter[int] = Counter()
        self._clients: set[str] = set()

    def count_events(self, events: Iterable[Event]) -> None:
        """Count what was committed."""
        for event in events:
            client = self._bounded(event.client_id or "")
            self._events[event.name.value, client] += 1
            outcome = OUTCOMES.get(event.name)
            if outcome is not None:
                self._refreshes[client, *_refresh(outcome, event)] += 1
            elif event.name is EventName.TOKEN_LIMITED:
                self._limited[event.fields.get("limit", ""), client] += 1

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
            "# HELP portero_refreshes_total Refreshes, by client, what they came to, and why.",
            "# TYPE portero_refreshes_total counter",
        ]
        for (client, outcome, reason), count in sorted(self._refreshes.items()):
            labels = f'client="{_escaped(client)}",outcome="{outcome}",reason="{reason}"'
            lines.append(f"portero_refreshes_total{{{labels}}} {count}")
        lines += [
            "# HELP portero_token_limited_total Token requests answered 429, by limit and client.",
            "# TYPE portero_token_limited_total counter",
        ]
        for (limit, client), count in sorted(self._limited.items()):
            lines.append(f'portero_token_limited_total{{limit="{limit}",client="{_escaped(client)}"}} {count}')
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


def _refresh(outcome: str, event: Event) -> tuple[str, str]:
    """Return the outcome and its reason: names of the closed lists in `core.sessions`, so they stay few."""
    if outcome not in _REASONED:
        return outcome, ""
    proof = event.fields.get("proof", "").lower()
    if outcome == "soft_denied" and proof == "recent":
        return "raced", proof
    standing = event.fields.get("standing", "").lower()
    return outcome, event.fields.get("because") or (proof if proof not in ("", "any") else standing)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
