"""Limits on `/token` that nobody can turn against others (decision 0091).

Who is counted is whoever caused it, and nobody else:

- what is *invented* (a refresh token without our tag, an unknown code, a credential or proof that fails) counts
  per address and kind. Only the failing requests of that address are answered 429: an authentic token or code
  from the same network is served as ever.
- a *session's successes* count per family: a client that refreshes in a loop. Nobody without the live token
  can raise that count.
- *refusals of an authentic token* count per token and client: a device that sends its dead token again and
  again. Its next sign-in begins a new family, and a code is another kind: the way to repair stays open.
- `client_credentials` count per client, once it is authenticated; token exchange per client and person.
  Refreshes and codes do not count per client: they are its people's, and one of them could use up what all
  the others need.

Levels are kept in memory, per process, bounded, and the least recently touched are forgotten first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final

from portero.authorization_server.config import Config
from portero.core.errors import RequestError
from portero.core.limits import Rate, parse_rate, retry_after
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.types import ClientId, FamilyId

MAX_LEVELS: Final = 20_000
"""Levels a table keeps in each of its two halves."""


class Limit(Enum):
    """Which limit was reached, for counters."""

    INVENTED = "invented"
    REFUSED = "refused"
    SESSION = "session"
    CLIENT = "client"
    DEVICE = "device"
    DIRECT = "direct"


class Invented(Enum):
    """What an address made up. Each kind has its own count."""

    CREDENTIAL = "credential"
    PROOF = "proof"
    CODE = "code"
    REFRESH_TOKEN = "refresh_token"


class TooManyRequests(RequestError):
    """A limit was reached: 429 (RFC 6585 §4), never `invalid_grant`. The token, if there is one, is as good as before.

    Args:
        limit: which one.
        wait: seconds until one more is allowed.
    """

    def __init__(self, limit: Limit, *, wait: float) -> None:
        super().__init__("temporarily_unavailable", "too many requests; try again later", status=429)
        self.limit = limit
        self.retry_after = retry_after(wait)
        """Whole seconds."""


class Levels:
    """A bounded table of bucket levels.

    Two halves: what is touched moves to the young one, and when that is full the old one is dropped. So the
    least recently touched go first, at no cost for each request.
    """

    __slots__ = ("_capacity", "_old", "_rate", "_young")

    def __init__(self, rate: Rate | None, *, capacity: int = MAX_LEVELS) -> None:
        self._rate = rate
        self._capacity = capacity
        self._young: dict[Hashable, float] = {}
        self._old: dict[Hashable, float] = {}

    def __len__(self) -> int:
        """How many levels are kept."""
        return len(self._young) + len(self._old)

    def wait(self, key: Hashable, *, at: float) -> float:
        """Return the seconds until one more is allowed; 0 or less: now. Counts nothing."""
        level = self._young.get(key)
        if level is None:
            level = self._old.get(key)
            if level is None:
                return 0.0
        return 0.0 if self._rate is None else self._rate.wait(level, at=at)

    def spend(self, key: Hashable, *, at: float) -> None:
        """Count one."""
        rate, young = self._rate, self._young
        if rate is None:
            return
        level = young.get(key)
        if level is None:
            level = self._old.get(key, at)
            if len(young) >= self._capacity:
                self._old = young
                self._young = young = {}
        # Past the burst the level stays where it is: hammering does not prolong the wait.
        if rate.wait(level, at=at) <= 0:
            level = rate.spend(level, at=at)
        young[key] = level

    def give_back(self, key: Hashable) -> None:
        """Take one back that was counted: for what counts before it is known to be harmless."""
        for table in (self._young, self._old):
            if self._rate is not None and key in table:
                table[key] -= self._rate.interval
                return


class TokenLimits:
    """The limits of one token endpoint. For one event loop: not for several threads.

    Args:
        monotonic: where the time comes from, in seconds.
    """

    __slots__ = ("_clients", "_invented", "_monotonic", "_refused", "_sessions")

    def __init__(self, config: Config, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._invented = Levels(parse_rate(config.token_limit_invented))
        self._refused = Levels(parse_rate(config.token_limit_refused))
        self._sessions = Levels(parse_rate(config.token_limit_session))
        self._clients = Levels(parse_rate(config.token_limit_client))

    def check_refresh(self, token: RefreshToken, *, client_id: ClientId) -> None:
        """Refuse a refresh whose session, or whose very token, came too often. Counts nothing.

        Args:
            token: authentic. Nothing else ever gets here: what is invented has no session.

        Raises:
            TooManyRequests: nothing was looked up.
        """
        at = self._monotonic()
        wait = self._sessions.wait(token.family_id, at=at)
        if wait > 0:
            raise TooManyRequests(Limit.SESSION, wait=wait)
        wait = self._refused.wait((token.family_id, token.generation, client_id), at=at)
        if wait > 0:
            raise TooManyRequests(Limit.REFUSED, wait=wait)

    def refreshed(self, family_id: FamilyId) -> None:
        """Count a success of a session."""
        self._sessions.spend(family_id, at=self._monotonic())

    def refresh_refused(self, token: RefreshToken, *, client_id: ClientId) -> None:
        """Count a refusal of an authentic token.

        Per token, because a session's own count must not be raised by who holds an old one of its tokens;
        and per client, because a public client's name is anybody's.
        """
        self._refused.spend((token.family_id, token.generation, client_id), at=self._monotonic())

    def take_client(self, client_id: ClientId, *, for_subject: str | None = None) -> None:
        """Count what an authenticated client asks for itself or for somebody, or refuse it.

        Args:
            for_subject: on whose behalf (RFC 8693): each has a count of its own, as one person's requests must
                not use up another's. None: for itself (`client_credentials`).

        Raises:
            TooManyRequests: nothing was issued.
        """
        at = self._monotonic()
        wait = self._clients.wait((client_id, for_subject), at=at)
        if wait > 0:
            raise TooManyRequests(Limit.CLIENT, wait=wait)
        self._clients.spend((client_id, for_subject), at=at)

    def has_invented_enough(self, kind: Invented, *, address: str) -> bool:
        """Tell whether the next failure of this kind from this address will be answered 429."""
        return self._invented.wait((kind, address), at=self._monotonic()) > 0

    def invented(self, kind: Invented, *, address: str) -> None:
        """Count what failed, or say that it was too often.

        Args:
            address: what limits count by, see `sign_in.address.limiting_key`.

        Raises:
            TooManyRequests: to be answered in place of the failure itself.
        """
        at = self._monotonic()
        wait = self._invented.wait((kind, address), at=at)
        if wait > 0:
            raise TooManyRequests(Limit.INVENTED, wait=wait)
        self._invented.spend((kind, address), at=at)
