"""Where a subscriber gets the feed from: the issuer itself, or the relay of its host.

Both speak the same format with the same cursors, so a subscriber changes from one to the other between two steps.
"""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import quote

from portero.adapters.fetch.requests import Conversation, FetchRequest
from portero.core.errors import Unavailable
from portero.core.revocation.subscription import Subscription
from portero.resource_server.issuers import RevocationFeed
from portero.resource_server.relay_socket import check_believable, is_served
from portero.resource_server.relay_thread import RelayThread
from portero.resource_server.trust import Trust

RELAY_PATIENCE: Final = 3.0
"""Seconds a subscriber waits for a relay that is about to serve before it follows the issuer itself."""
RELAY_AGAIN: Final = 30.0
"""Seconds, times 0.5 to 1.5, after which a subscriber that follows the issuer itself looks for its relay again."""


class Source(Protocol):
    """One place to get the feed from."""

    unknown_cursor: frozenset[int]
    """Answers to a stream request that mean: this cursor is not ours, take a snapshot."""

    def request(self, path: str, *, after: str | None, monotonic: float) -> Conversation[FetchRequest]:
        """Make a request for a path of the feed.

        Raises:
            Unavailable: it cannot be asked.
        """
        ...

    def refused(self, status: int) -> Unavailable:
        """What an answer other than 200 means."""
        ...

    def leaves(self, subscription: Subscription, *, since: float, monotonic: float) -> bool:
        """Whether a stream that has been open `since` is to be left, although it is not broken."""
        ...


class Direct:
    """The issuer itself."""

    unknown_cursor = frozenset({400, 404, 409, 410})

    def __init__(self, trust: Trust, relay: ViaRelay | None) -> None:
        self._trust = trust
        self._relay = relay

    def request(self, path: str, *, after: str | None, monotonic: float) -> Conversation[FetchRequest]:
        """With a token of this service's own client."""
        request = yield from self._trust.authorized_feed_request(path, monotonic=monotonic)
        return request if after is None else FetchRequest(f"{request.url}?after={after}", headers=request.headers)

    def refused(self, status: int) -> Unavailable:
        """Drop a token that is not accepted: it expired, or the issuer's keys changed. The next step gets a new one."""
        if status == 401:
            self._trust.service_token = None
        return Unavailable(f"the feed of {self._trust.issuer} answers {status}")

    def leaves(self, subscription: Subscription, *, since: float, monotonic: float) -> bool:
        """Open anew what lives but brings old news (a proxy that buffers, a clock set back) or never a heartbeat."""
        if subscription.stale(monotonic) and monotonic - since > subscription.stale_after:
            return True
        return self._relay is not None and self._relay.is_back(monotonic)


class ViaRelay:
    """The host's relay, and when it is the one to ask.

    Args:
        trust: of the issuer.
        feed: its settings; `relay` is set.
        thread: serves the relay here, where that is wanted.
    """

    unknown_cursor = frozenset({409})

    def __init__(self, trust: Trust, feed: RevocationFeed, *, thread: RelayThread | None) -> None:
        assert feed.relay is not None  # noqa: S101 - the caller's promise, for the type checker
        self.socket = feed.relay
        self._trust = trust
        self._thread = thread
        self._waits_since: float | None = None
        self._not_before = float("-inf")
        self._serves_another_cursor = False

    def is_due(self, monotonic: float) -> bool:
        """Whether the relay is to be asked now."""
        return monotonic >= self._not_before

    def request(self, path: str, *, after: str | None, monotonic: float) -> Conversation[FetchRequest]:
        """Without a token: the socket's permissions say who may read."""
        if self._thread is not None:
            self._thread.stand()
        check_believable(self.socket)
        resumed = "" if after is None else f"&after={after}"
        return FetchRequest(f"http://relay{path}?iss={quote(self._trust.issuer, safe='')}{resumed}")
        yield  # a conversation that needs no answer

    def refused(self, status: int) -> Unavailable:
        """409: a snapshot first; 404: it does not follow this issuer; 503: it has heard nothing yet."""
        self._serves_another_cursor = status == 409
        if status == 404:
            self._waits_since = float("-inf")
        return Unavailable(f"the relay at {self.socket} answers {status} for {self._trust.issuer}")

    def leaves(self, subscription: Subscription, *, since: float, monotonic: float) -> bool:
        """A relay that has lost the issuer is left early enough that no route refuses for it."""
        age = subscription.freshness.age(monotonic)
        return age > subscription.stale_after / 2 and monotonic - since > min(2.0, subscription.stale_after / 2)

    def failed(self, *, monotonic: float, jitter: float, waits: bool) -> bool:
        """It does not serve. False: ask again shortly; True: go to the issuer for a while.

        Args:
            waits: nothing is known yet, so that a relay which is about to serve may be waited for.
        """
        if self._serves_another_cursor:
            self._serves_another_cursor = False
            return False
        if self._waits_since is None:
            self._waits_since = monotonic
        if waits and monotonic < self._waits_since + RELAY_PATIENCE and is_served(self.socket):
            return False
        self.left(monotonic=monotonic, jitter=jitter)
        return True

    def left(self, *, monotonic: float, jitter: float) -> None:
        """It is not to be asked for a while."""
        self._waits_since = None
        self._not_before = monotonic + RELAY_AGAIN * (0.5 + jitter)

    def is_back(self, monotonic: float) -> bool:
        """Whether somebody serves again (or here, from now on); looked at once in a while."""
        if not self.is_due(monotonic):
            return False
        if self._thread is not None:
            self._thread.stand()
        if is_served(self.socket):
            return True
        self._not_before = monotonic + RELAY_AGAIN
        return False
