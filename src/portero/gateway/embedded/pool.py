"""The servers behind one service: kept connections, choice, passive health (outlier ejection).

A connection that waited is used again only while it is young: servers close idle ones after a few
seconds, and a request that meets such a close can be repeated only where that is safe.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from portero.gateway.embedded.known_answers import KnownAnswers

if TYPE_CHECKING:
    from portero.gateway.embedded.upstream_side import UpstreamConnection

IDLE_FOR: Final = 4.0
"""Seconds an unused connection is kept: below the five after which uvicorn and Node close theirs."""
YOUNG: Final = 1.0
"""Seconds an unused connection may have waited to carry a request that cannot be repeated."""
MOST_IDLE: Final = 256
FAILURES_IN_A_ROW: Final = 5
EJECTED_FOR: Final = 10.0
"""Seconds of the first ejection; each further one is as much longer, up to `LONGEST_EJECTION`."""
LONGEST_EJECTION: Final = 300.0


class Origin:
    """One server: `scheme://host:port`."""

    __slots__ = (
        "active", "answers", "ejected_until", "ejections", "failures", "host", "idle", "name", "port", "tls", "well",
    )  # fmt: skip

    def __init__(self, url: str, *, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = tls if parts.scheme == "https" else None
        self.idle: list[UpstreamConnection] = []
        self.answers = KnownAnswers()
        self.active = 0
        """Requests on their way there."""
        self.failures = 0
        """In a row."""
        self.ejections = 0
        self.ejected_until = 0.0
        self.well = True
        """What the active health check said last."""

    def served(self) -> None:
        """It answered: a row of failures ends. Called only where there was one."""
        self.failures = 0
        self.ejections = 0

    def failed(self, now: float) -> None:
        """It did not answer, or with nonsense, or with 502, 503 or 504."""
        self.failures += 1
        if self.failures >= FAILURES_IN_A_ROW:
            self.failures = 0
            self.ejections += 1
            self.ejected_until = now + min(LONGEST_EJECTION, EJECTED_FOR * self.ejections)

    def usable(self, now: float) -> bool:
        """Whether requests should go there."""
        return self.well and now >= self.ejected_until


class Cluster:
    """All servers of one service.

    Args:
        upstreams: their origins.
        least_connections: choose the one with the fewest requests on their way; otherwise in turn.
        tls: for those with `https`.
    """

    __slots__ = ("_least", "_only", "_turn", "origins")

    def __init__(self, upstreams: Sequence[str], *, least_connections: bool, tls: ssl.SSLContext | None) -> None:
        self.origins = tuple(Origin(url, tls=tls) for url in upstreams)
        self._least = least_connections
        self._only = self.origins[0] if len(self.origins) == 1 else None
        self._turn = 0

    def choose(self, now: float, *, tried: Origin | None = None) -> Origin | None:
        """The server for the next request.

        Args:
            tried: where it just failed; another one is preferred.

        Returns:
            `None` where active checks found every server ill. Ejection alone leaves nobody out
            when all are ejected: a guess is no reason to serve nothing.
        """
        only = self._only
        if only is not None:
            return only if only.well else None
        usable = [origin for origin in self.origins if origin.usable(now)] or [one for one in self.origins if one.well]
        others = [origin for origin in usable if origin is not tried] or usable
        if not others:
            return None
        self._turn += 1
        start = self._turn % len(others)
        if not self._least:
            return others[start]
        in_turn = others[start:] + others[:start]
        return min(in_turn, key=lambda origin: origin.active)
