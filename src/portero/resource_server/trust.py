"""What a Guard knows about one issuer: rules, keys, revocations. Never shared between issuers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from portero.adapters.fetch.client_credentials import ServiceToken, obtain_service_token
from portero.adapters.fetch.discovery import IssuerMetadata, discover
from portero.adapters.fetch.requests import Conversation, Fetched, FetchRequest
from portero.core.errors import Unavailable
from portero.core.jose.jwk import PublicKey
from portero.core.jose.jwk_set import JWKSet, JwkSetError, read_jwk_set
from portero.core.keys.key_cache import Fetch, KeyCache, NoKeys, Unknown, Use, Wait
from portero.core.revocation.subscription import Subscription
from portero.core.tokens.access_token import AccessTokenRules, VerifiedAccessToken, verify_access_token
from portero.core.tokens.assertion import verify_assertion
from portero.core.types import Issuer
from portero.resource_server.issuers import RevocationFeed, TrustedIssuer

_log = logging.getLogger("portero.keys")


class KeysWanted(Unavailable):
    """The token's key is not at hand: a driver fetches or waits (`action`), then asks again."""

    def __init__(self, trust: Trust, action: Fetch | Wait | NoKeys) -> None:
        super().__init__(
            f"no keys of {trust.issuer}", retry_after=int(action.retry_after) + 1 if isinstance(action, NoKeys) else 1
        )
        self.trust = trust
        self.action = action


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A key set, and how long the answer called itself fresh, in seconds."""

    keys: JWKSet
    fresh_for: float | None


RefreshNow = Callable[[], bool]
"""A driver's: have the keys fetched beside the requests; answers whether that will be done. From any thread."""


@dataclass(slots=True, eq=False)
class Trust:
    """One issuer's part of a Guard. `lock` guards the key cache where threads are used."""

    configured: TrustedIssuer
    rules: AccessTokenRules
    keys: KeyCache
    feed: RevocationFeed | None
    subscription: Subscription | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    drivers: list[RefreshNow] = field(default_factory=list)
    """Who fetches here, the latest last: an event loop and threads may share one Guard."""
    metadata: IssuerMetadata | None = None
    fetched_keys: tuple[bytes, JWKSet | None] = (b"", None)
    """The last good set as it came, and what was made of it: most fetches bring the same one again."""
    service_token: ServiceToken | None = None
    service_token_until: float = 0.0
    """Monotonic time until which the service's own token is used."""
    asserted: bool = False
    """Whether rules and keys are those of a gateway that vouches for this issuer's callers."""
    problem: str = ""
    """Why the keys could not be fetched last time; empty while all is well."""

    @property
    def issuer(self) -> Issuer:
        """The issuer identifier, typed."""
        return Issuer(self.configured.issuer)

    def find_key(self, kid: str | None, alg: str, *, monotonic: float) -> PublicKey | None:
        """Look a key up for `verify_access_token`; `None`: the issuer has no such key.

        Raises:
            KeysWanted: it is not known whether the issuer has it.
        """
        with self.lock:
            action = self.keys.lookup(kid, alg, now=monotonic)
        if isinstance(action, Use):
            if action.refresh and not self.refresh():
                self.gave_up_fetch()
            return action.key
        if isinstance(action, Unknown):
            return None
        raise KeysWanted(self, action)

    def verify(self, token: str, *, monotonic: float, now: float) -> VerifiedAccessToken:
        """Verify a token of this issuer, or an assertion about one, with the keys at hand.

        Raises:
            InvalidToken: with the first check that failed.
            KeysWanted: it is not known whether the issuer has the key.
        """

        def find_key(kid: str | None, alg: str) -> PublicKey | None:
            return self.find_key(kid, alg, monotonic=monotonic)

        if self.asserted:
            return verify_assertion(
                token, rules=self.rules, original_issuer=self.configured.issuer, find_key=find_key, now=now
            )
        return verify_access_token(token, rules=self.rules, find_key=find_key, now=now)

    def share(self, other: Trust) -> None:
        """Use the keys and the feed of another Guard's trust in the same issuer, which somebody keeps fresh."""
        self.keys, self.lock = other.keys, other.lock
        self.subscription, self.feed = other.subscription, other.feed
        self.drivers = other.drivers

    def driven_by(self, driver: RefreshNow) -> None:
        """Begin to fetch here. What was claimed before there was anybody to fetch is claimed no more."""
        self.drivers.append(driver)
        self.gave_up_fetch()

    def left_by(self, driver: RefreshNow) -> None:
        """Fetch here no more; nobody waits for what was under way."""
        if driver in self.drivers:
            self.drivers.remove(driver)
        self.gave_up_fetch()

    def refresh(self) -> bool:
        """Have the set fetched now, beside the requests; False: nobody fetches here."""
        return any(driver() for driver in tuple(reversed(self.drivers)))

    def gave_up_fetch(self) -> None:
        """Report that a claimed fetch will have no outcome."""
        with self.lock:
            self.keys.fetch_given_up()

    def obtain_keys(self) -> Conversation[FetchedKeys]:
        """Fetch the key set, by way of discovery unless its place is configured.

        Raises:
            Unavailable: no answer, or a set without a usable key (which replaces nothing).
        """
        uri = self.configured.jwks_uri
        if uri is None:
            uri = (yield from self.discovered()).jwks_uri
        try:
            answer = yield FetchRequest(uri)
            if answer.status != 200:
                raise Unavailable(f"{uri} answers {answer.status}")
            body, known = self.fetched_keys
            keys = known if known is not None and body == answer.body else (yield from read_jwk_set(answer.body))
            self.fetched_keys = answer.body, keys
        except (Unavailable, JwkSetError) as error:
            # The issuer may have moved its keys: ask again where they are.
            self.metadata = None
            raise error if isinstance(error, Unavailable) else Unavailable(f"{uri}: {error}") from error
        return FetchedKeys(keys, _fresh_for(answer))

    def discovered(self) -> Conversation[IssuerMetadata]:
        """The issuer's metadata, asked for once."""
        if self.metadata is None:
            self.metadata = yield from discover(self.issuer)
        return self.metadata

    def took_keys(self, fetched: FetchedKeys, *, monotonic: float) -> None:
        """Report a good set."""
        with self.lock:
            self.keys.fetched(fetched.keys, now=monotonic, fresh_for=fetched.fresh_for)
        self.problem = ""

    def lost_keys(self, error: Exception, *, monotonic: float, jitter: float) -> None:
        """Report a failed fetch. What is not `Unavailable` is a bug, ours or a library's: told to the log, and the next
        fetch comes all the same, for without one the service would refuse everybody in the end."""
        with self.lock:
            self.keys.fetch_failed(now=monotonic, jitter=jitter)
        if isinstance(error, Unavailable):
            self.problem = error.what
        else:
            self.problem = f"a fetch ended with {type(error).__name__}, see the log"
            _log.error("fetching the keys of %s failed unexpectedly", self.issuer, exc_info=error)

    def authorized_feed_request(self, path: str, *, monotonic: float) -> Conversation[FetchRequest]:
        """Make a request to the feed, with a token of this service's own client.

        Raises:
            Unavailable: there is no token to be had.
        """
        if self.feed is None:
            raise Unavailable(f"{self.issuer} has no feed")
        if self.service_token is None or monotonic >= self.service_token_until:
            metadata = yield from self.discovered()
            if metadata.token_endpoint is None:
                raise Unavailable(f"the metadata of {self.issuer} names no token_endpoint")
            self.service_token = yield from obtain_service_token(
                token_endpoint=metadata.token_endpoint,
                client_id=self.feed.client_id,
                client_secret=self.feed.client_secret,
                scope="revocations:read",
                resource=self.issuer,
            )
            self.service_token_until = monotonic + 0.8 * self.service_token.expires_in
        return FetchRequest(
            self.issuer.rstrip("/") + path,
            headers={"authorization": "Bearer " + self.service_token.token.reveal()},
        )


def _fresh_for(answer: Fetched) -> float | None:
    """The freshness lifetime an answer states (RFC 9111 §4.2.1); `None` when it states none."""
    for directive in answer.headers.get("cache-control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "max-age" and value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
    return None
