"""The keys of one issuer, as a verifier holds them: use, fetch, or wait. Pure: no I/O, no clock.

The rules:

1. A key that is known and not too old is used at once, whatever else goes on: no known key
   ever waits for a fetch. From `refresh_after` on, one caller is told to start a fetch beside it.
2. An unknown `kid` asks for one fetch, at most every `unknown_kid_interval` after a
   success. The budget is time, not a count: a flood of invented `kid`s can use up nothing that a
   real new key would need, and one fetch brings every new key to everybody.
3. One fetch at a time; everybody else who needs it waits for the same one.
4. A failed fetch changes nothing but the time of the next: exponential back-off with
   jitter. The last good set is used until `max_age` after it was fetched, then no more.
5. While the last attempt has failed, an unknown `kid` is *unavailable* (503), not unknown
   (401): we could not look.
6. A claim to fetch ends with an outcome, or by `fetch_given_up`: whoever was told to fetch and will
   not (closed, cancelled, never there) holds nobody up.
7. `epoch` increases whenever a key disappears, changes or is blocked. Whoever keeps a
   verified token keeps the epoch beside it.

A driver (sync or async) asks `lookup`, obeys the action, and reports `fetched`, `fetch_failed`
or `fetch_given_up`. One cache per issuer: keys never cross issuers because they are never together.
Calls are not synchronized here; a driver that uses threads holds its lock around every
call that returned `Fetch` or reports an outcome (`lookup` of a known, fresh key only reads).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from portero.core.errors import ConfigurationError
from portero.core.jose.jwk import PublicKey
from portero.core.jose.jwk_set import JWKSet

_NEVER: Final = float("-inf")
MAX_BLOCKED: Final = 1024
"""Blocked keys remembered; an issuer has a handful."""


@dataclass(frozen=True, slots=True)
class KeyCachePolicy:
    """Seconds. Every value trades freshness against requests to the issuer.

    Raises:
        ConfigurationError: a value is not positive, or the order below is broken.
    """

    refresh_after: float = 300
    """A set of this age is fetched again, ahead of need."""
    max_age: float = 6 * 3600
    """A set of this age is not used any more: how long an outage of the issuer may last."""
    unknown_kid_interval: float = 5
    """After a successful fetch, unknown `kid`s do not cause another for so long."""
    fetch_timeout: float = 5
    """A fetch that has not reported by then counts as lost, and another may start."""
    backoff_first: float = 1
    backoff_longest: float = 60

    def __post_init__(self) -> None:
        for name in ("refresh_after", "unknown_kid_interval", "fetch_timeout", "backoff_first"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(name, getattr(self, name), "must be more than 0 seconds")
        if not self.max_age > self.refresh_after:
            raise ConfigurationError("max_age", self.max_age, "must be more than refresh_after")
        if not self.backoff_longest >= self.backoff_first:
            raise ConfigurationError("backoff_longest", self.backoff_longest, "must be at least backoff_first")


# ── what a caller is told to do ──────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Use:
    """Verify with this key now. With `refresh`, this caller also starts a fetch in the background."""

    key: PublicKey
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """This caller fetches the set, reports the outcome, and asks again."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody fetches already: wait for the outcome, at most until `until`, and ask again."""

    until: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """The issuer has no such key: the token is refused (401)."""


@dataclass(frozen=True, slots=True)
class NoKeys:
    """The keys are not available: our failure, not the token's (503)."""

    retry_after: float
    """Seconds until a fetch is due."""


Action = Use | Fetch | Wait | Unknown | NoKeys
_FETCH: Final = Fetch()
_UNKNOWN: Final = Unknown()


@dataclass(slots=True)
class KeyCache:
    """State and rules. `now` is monotonic, in seconds, and never goes back."""

    policy: KeyCachePolicy = field(default_factory=KeyCachePolicy)
    keys: JWKSet | None = None
    """The last good set, or none."""
    epoch: int = 0
    fetched_at: float = _NEVER
    failures: int = 0
    """Failed fetches since the last good one."""
    _refresh_at: float = _NEVER
    _expires_at: float = _NEVER
    _not_before: float = _NEVER
    """Back-off: no fetch starts earlier."""
    _fetching_until: float = _NEVER
    """A fetch is under way, and counts as lost from then on."""
    _uses: dict[tuple[str | None, str], Use] = field(default_factory=dict)
    _blocked: dict[str, float] = field(default_factory=dict)
    """`kid` → until when."""

    def lookup(self, kid: str | None, alg: str, *, now: float) -> Action:
        """Say what to do about a token with this `kid` and `alg`.

        A returned `Fetch`, or `Use` with `refresh`, is this caller's duty alone.
        """
        use = self._uses.get((kid, alg))
        if use is not None and now < self._refresh_at:
            return use
        if now >= self._expires_at and self.keys is not None:
            self._replace(None)
        if self.keys is None:
            return self._fetch_or(None, now)
        if kid is not None and self._is_blocked(kid, now):
            return _UNKNOWN
        key = self.keys.find(kid, alg)
        if key is not None and not (key.kid is not None and self._is_blocked(key.kid, now)):
            return Use(key, refresh=now >= self._refresh_at and self._claim_fetch(now))
        if now < self.fetched_at + self.policy.unknown_kid_interval:
            return _UNKNOWN
        return self._fetch_or(kid, now)

    def refresh_due(self, *, now: float) -> bool:
        """Claim a fetch if one is due: for warm-up and for a background task. True obliges to fetch and report."""
        return (self.keys is None or now >= self._refresh_at) and self._claim_fetch(now)

    def next_due(self) -> float:
        """When `refresh_due` is worth asking again."""
        wanted = self._refresh_at if self.keys is not None else _NEVER
        return max(wanted, self._not_before, self._fetching_until)

    def fetched(self, keys: JWKSet, *, now: float, fresh_for: float | None = None) -> None:
        """Report a good set.

        Args:
            keys: as parsed; `parse_jwk_set` refuses an empty or broken one, which is then a failure.
            fresh_for: seconds of freshness the response claims (RFC 9111), kept between the
                unknown-kid interval and twice `refresh_after`, and below `max_age`.
        """
        policy = self.policy
        refresh_after = policy.refresh_after
        if fresh_for is not None:
            longest = min(2 * policy.refresh_after, policy.max_age / 2)
            refresh_after = min(max(fresh_for, policy.unknown_kid_interval), longest)
        self.failures = 0
        self.fetched_at = now
        self._refresh_at = now + refresh_after
        self._expires_at = now + policy.max_age
        self._not_before = self._fetching_until = _NEVER
        self._replace(keys)

    def fetch_failed(self, *, now: float, jitter: float) -> None:
        """Report a failure: transport, status, size, or a set that is empty or broken.

        Args:
            jitter: 0 to 1, random: the back-off is between half and all of its exponential value.
        """
        exponential = self.policy.backoff_first * 2.0 ** min(self.failures, 16)
        self.failures += 1
        self._not_before = now + min(exponential, self.policy.backoff_longest) * (0.5 + 0.5 * jitter)
        self._fetching_until = _NEVER

    def fetch_given_up(self) -> None:
        """Report that a fetch ends without an outcome: who asks next is told to fetch, at once."""
        self._fetching_until = _NEVER

    def block(self, kid: str, *, until: float, now: float) -> None:
        """Stop using a key although the issuer may still publish it (an emergency; revocation of a `kid`)."""
        for expired in [other for other, end in self._blocked.items() if end <= now]:
            del self._blocked[expired]
        if kid in self._blocked or len(self._blocked) < MAX_BLOCKED:
            self._blocked[kid] = max(until, self._blocked.get(kid, until))
            self._index()
            self.epoch += 1

    def is_ready(self, *, now: float) -> bool:
        """For a readiness probe: there are keys, and they are not too old."""
        return self.keys is not None and now < self._expires_at

    def usable_until(self) -> float:
        """When the present keys stop being usable unless fetched again; a kept verified token is not used later."""
        return self._expires_at if self.keys is not None else _NEVER

    def _fetch_or(self, kid: str | None, now: float) -> Action:
        if now < self._fetching_until:
            return Wait(self._fetching_until)
        if self._claim_fetch(now):
            return _FETCH
        return NoKeys(max(self._not_before - now, 0.0))

    def _claim_fetch(self, now: float) -> bool:
        if now < self._fetching_until or now < self._not_before:
            return False
        self._fetching_until = now + self.policy.fetch_timeout
        return True

    def _is_blocked(self, kid: str, now: float) -> bool:
        return bool(self._blocked) and now < self._blocked.get(kid, _NEVER)

    def _replace(self, keys: JWKSet | None) -> None:
        """Take a set over; the epoch moves only when something usable was lost or changed."""
        before = _names(self.keys)
        after = _names(keys)
        if any(after.get(name) != thumbprint for name, thumbprint in before.items()):
            self.epoch += 1
        self.keys = keys
        self._index()

    def _index(self) -> None:
        # A new dict each time: a thread that still reads the old one cannot write an old key into the new.
        found = () if self.keys is None else self.keys.names()
        self._uses = {(kid, key.alg): Use(key) for kid, key in found if key.kid is None or key.kid not in self._blocked}


def _names(keys: JWKSet | None) -> dict[tuple[str | None, str], str]:
    return {} if keys is None else {(key.kid, key.alg): key.thumbprint for key in keys.keys}
