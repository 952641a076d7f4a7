"""The Guard: the one path every request of every framework takes (design §2, §3.5).

`admit` is synchronous and does no I/O: token bytes and a requirement go in, a `Principal` or
a `Refusal` comes out. Where it cannot decide without the network it raises `KeysWanted`, and
`check` (event loop) or `check_sync` (threads) fetch or wait and ask again. The adapters only
translate.

On every request, a cached token included: `exp`, the keys' epoch, revocation, staleness, the
route's requirement, and the proof of a token that is bound to a key or a certificate.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from sys import intern
from typing import Unpack

from portero.adapters.system import SystemClock
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.jose.jws import MAX_TOKEN_LENGTH
from portero.core.keys.key_cache import KeyCache, KeyCachePolicy
from portero.core.policy.client_certificate import ClientCertificate
from portero.core.policy.cookie_credential import CookieCredential, HeaderOf
from portero.core.policy.cors import CorsPolicy
from portero.core.policy.principal import Principal
from portero.core.policy.protected_resource import metadata_document, metadata_path, metadata_url
from portero.core.policy.refusal import (
    NO_TOKEN,
    REVOKED,
    Case,
    Refusal,
    invalid_token,
    refusal_of,
    two_tokens,
    unavailable,
)
from portero.core.policy.rendering import Challenger, GrpcRefusal, HttpRefusal, grpc_refusal, http_refusal
from portero.core.policy.requirement import Allowed, Carrier, Requirement, WhenStale, judge
from portero.core.revocation.subscription import Subscription
from portero.core.tokens.access_token import (
    Fault,
    InvalidToken,
    VerifiedAccessToken,
    unverified_issuer_of,
)
from portero.core.tokens.assertion import assertion_rules, unverified_original_issuer_of
from portero.core.types import ClientId, Issuer, Jti, Kid, NumericDate, Secret, Sid, Subject
from portero.ports import Clock
from portero.resource_server.feed_metrics import render_metrics
from portero.resource_server.issuers import FeedStart, OfGuard, RevocationFeed, TrustedGateway, TrustedIssuer
from portero.resource_server.open_connections import OpenConnection, OpenConnections, WhenOver
from portero.resource_server.required import Required, requirement_of
from portero.resource_server.sender import (
    NO_PROOF,
    TOKEN,
    DpopPolicy,
    Presented,
    RequestSeen,
    Sender,
    SenderConstraint,
)
from portero.resource_server.sides import LoopSide, ThreadSide
from portero.resource_server.trust import KeysWanted, Trust
from portero.resource_server.verified_tokens import (
    BEARER,
    CachedToken,
    VerifiedTokens,
    digest_of,
    shared_names,
    shared_texts,
)

_SHORTEST_NAP = 0.02


@dataclass(frozen=True, slots=True)
class Readiness:
    """For a readiness probe: whether this Guard can decide, and if not, what is missing."""

    ready: bool
    problems: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    """What an operator should look at although requests are served: a stale feed, clocks that differ too much."""


class Guard:
    """Checks access tokens for one resource server.

    Args:
        issuers: whose tokens are accepted; a URL alone means the strict defaults.
        audience: this resource server's identifier, which `aud` must name. An http(s) URL also
            gives the RFC 9728 metadata its place.
        revocation: how the issuers' feeds are followed. `None`, written down by hand, means that
            a revoked token lives until its `exp`.
        cookie: which cookie may hold the token, on routes that `requires(cookie=True)`. Off by default.
        dpop: how proofs are checked (RFC 9449). `None`: tokens that are bound to a key are refused.
        client_certificate: where the client's certificate comes from (RFC 8705). `None`: tokens that are
            bound to a certificate are refused.
        cors_origins: browser origins that may call this service.
        leeway: how far two clocks may differ, at both ends of a token's life.
        role_scopes: role → scopes it implies.
        scopes_supported: for the metadata document, beside those of `requires`.
        key_policy: how keys are refreshed and how long they outlive an outage.
        cache_entries, cache_bytes: bounds of the verified-token cache; 0 entries: no cache.
        startup_patience: how long `start` waits for keys and feed; after that it returns, and
            requests are refused with 503 until they are there.
        gateway: stand behind it: only what it asserts about callers of `issuers` is accepted, and
            a caller's own token is refused.

    Raises:
        ConfigurationError: a setting cannot be meant.
    """

    def __init__(
        self,
        *,
        issuers: Sequence[TrustedIssuer | str],
        audience: str,
        revocation: RevocationFeed | None,
        cookie: CookieCredential | None = None,
        dpop: DpopPolicy | None = None,
        client_certificate: ClientCertificate | None = None,
        cors_origins: Iterable[str] = (),
        cors_credentials: bool = False,
        leeway: timedelta = timedelta(seconds=60),
        role_scopes: Mapping[str, Iterable[str]] | None = None,
        scopes_supported: Iterable[str] = (),
        key_policy: KeyCachePolicy | None = None,
        cache_entries: int = 20_000,
        cache_bytes: int = 64 * 1024 * 1024,
        startup_patience: timedelta = timedelta(seconds=5),
        gateway: TrustedGateway | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not audience:
            raise ConfigurationError("audience", audience, "must be this resource server's identifier")
        configured = [issuer if isinstance(issuer, TrustedIssuer) else TrustedIssuer(issuer) for issuer in issuers]
        if not configured:
            raise ConfigurationError("issuers", issuers, "must name at least one issuer")
        if len({issuer.issuer for issuer in configured}) < len(configured):
            raise ConfigurationError("issuers", [issuer.issuer for issuer in configured], "must name each issuer once")
        self.audience = audience
        self.clock: Clock = clock or SystemClock()
        self.cookie = cookie
        self.cors = CorsPolicy.for_origins(cors_origins, credentials=cors_credentials)
        self.leeway = int(leeway.total_seconds())
        self.senders = SenderConstraint(dpop, client_certificate, leeway=self.leeway)
        self.connections = OpenConnections()
        self._now = time.time if clock is None else clock.now
        self._role_scopes = {role: frozenset(scopes) for role, scopes in (role_scopes or {}).items()}
        self._scopes_supported = set(scopes_supported)
        self._gateway = gateway
        self._host: Guard | None = None
        self._cache = VerifiedTokens(max_entries=cache_entries, max_bytes=cache_bytes)
        self._trusts = {
            issuer.issuer: _trust(
                issuer,
                audience=audience,
                leeway=self.leeway,
                of_guard=revocation,
                key_policy=key_policy,
                gateway=gateway,
            )
            for issuer in configured
        }
        self._only_trust = next(iter(self._trusts.values())) if len(self._trusts) == 1 else None
        self._startup_patience = startup_patience.total_seconds()
        self._challenger = Challenger(resource_metadata=metadata_url(audience), dpop_algorithms=self.senders.algorithms)
        self.metadata_path = metadata_path(audience) if metadata_url(audience) else None
        self.started = False
        """Whether `start` has begun on an event loop. A plain attribute: it is read at every request."""
        self._loop_side: LoopSide | None = None
        self._thread_side: ThreadSide | None = None
        self._starting: asyncio.Task[None] | None = None
        self._start_lock = threading.Lock()

    # ── what a route requires ────────────────────────────────────────────────────────

    def requires(self, **what: Unpack[Required]) -> Requirement:
        """Say what a route requires; without arguments, any valid token.

        Raises:
            ConfigurationError: a value cannot be meant.
        """
        requirement = requirement_of(what)
        if requirement.when_stale is WhenStale.DENY and not any(trust.subscription for trust in self._trusts.values()):
            raise ConfigurationError("when_stale", "deny", "needs a revocation feed, and this Guard follows none")
        if requirement.dpop and self.senders.dpop is None:
            raise ConfigurationError("dpop", True, "needs a Guard that checks proofs: Guard(dpop=DpopPolicy(…))")
        if requirement.mtls and self.senders.certificate is None:
            expected = "needs a Guard that knows where certificates come from: Guard(client_certificate=…)"
            raise ConfigurationError("mtls", True, expected)
        if Carrier.COOKIE in requirement.carriers and self.cookie is None:
            raise ConfigurationError("cookie", True, "needs a Guard that was told which cookie: Guard(cookie=…)")
        self._scopes_supported |= requirement.scopes | requirement.scopes_any
        return requirement

    # ── the one path ─────────────────────────────────────────────────────────────────

    def admit(self, token: bytes, requirement: Requirement, sender: Sender | None = None) -> Principal | Refusal:
        """Decide about one request, without I/O.

        Args:
            token: as received (`core.policy.credentials`).
            requirement: the route's.
            sender: what the request says about its sender (`presented`); without, a bound token is refused.

        Raises:
            KeysWanted: the network has to be asked first.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            return _TOO_LONG
        if sender is not None:
            return self._admit_from(sender, token, requirement, self._now())
        in_header = BEARER + token
        outcome = self.admit_known(in_header, requirement)
        if outcome is not None:
            return outcome
        now = self._now()
        digest = digest_of(in_header)
        entry = self._cache.find(digest)
        known = self._verify(token, digest, now) if entry is None else self._looked_again(entry, token, digest, now)
        if isinstance(known, Refusal):
            return known
        return self._judge(known.principal, known.trust.subscription, requirement, now)

    def admit_known(self, authorization: bytes, requirement: Requirement) -> Principal | Refusal | None:
        """Decide at once where nothing has to be learned: the quickest way of a request (decision 0250).

        Args:
            authorization: the one field value as received. Only tokens that were verified are found by it, so
                one that is found is `Bearer`, one space and that token: nothing is left to read out of it.
            requirement: the route's.

        Returns:
            `None` where `admit` has to look closer: nothing is known of it, its time is over, or keys or
            revocations have changed since.

        Does not check: that the request carries no second token, that the route accepts one in this header.
        """
        entry = self._cache.young.get(digest_of(authorization))
        if entry is None:
            return None
        trust = entry.trust
        subscription = trust.subscription
        now = self._now()
        if (
            now >= entry.recheck_at
            or entry.key_epoch != trust.keys.epoch
            or (subscription is not None and subscription.revoked.version != entry.revocation_version)
        ):
            return None
        if requirement.is_plain and requirement.scopes <= entry.scopes:
            return entry.principal
        return self._judge(entry.principal, subscription, requirement, now)

    def _admit_from(self, sender: Sender, token: bytes, requirement: Requirement, now: float) -> Principal | Refusal:
        # Where a sender is shown, tokens are kept under longer names: a bound token that was served with its
        # proof is never found by a request that shows none, whatever its bytes are.
        digest = digest_of(BEARER + token) + b"shown"
        entry = self._cache.find(digest)
        known = (
            self._verify(token, digest, now, shown=True)
            if entry is None
            else self._looked_again(entry, token, digest, now, shown=True)
        )
        outcome: Principal | Refusal
        if isinstance(known, Refusal):
            outcome = known
        else:
            principal = known.principal
            unproven = None
            if not known.trust.asserted:
                unproven = self.senders.refusal_of(sender, principal, token, digest, now=now)
            outcome = unproven or self._judge(principal, known.trust.subscription, requirement, now)
        return self.senders.about(outcome, sender, now=now) if isinstance(outcome, Refusal) else outcome

    def _looked_again(
        self, entry: CachedToken, token: bytes, digest: bytes, now: float, *, shown: bool = False
    ) -> CachedToken | Refusal:
        """Whether what was learned about a token still holds; what does not is learned anew."""
        trust = entry.trust
        if now >= entry.recheck_at or entry.key_epoch != trust.keys.epoch:
            self._cache.drop(digest)
            return self._verify(token, digest, now, shown=shown)
        subscription = trust.subscription
        if subscription is not None and subscription.revoked.version != entry.revocation_version:
            # A newer state of the feed: look again. The version is read first, so that an
            # entry that arrives meanwhile is looked for next time.
            version = subscription.revoked.version
            if _revoked(subscription, entry.principal):
                self._cache.drop(digest)
                return REVOKED
            entry.revocation_version = version
        return entry

    def _verify(self, token: bytes, digest: bytes, now: float, *, shown: bool = False) -> CachedToken | Refusal:
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError:
            return _NOT_ASCII
        try:
            trust = self._only_trust or self._trust_of(text)
        except InvalidToken as error:
            return invalid_token(error, fault=error.fault.value)
        monotonic = self.clock.monotonic()
        epoch = trust.keys.epoch
        try:
            verified = trust.verify(text, monotonic=monotonic, now=now)
        except InvalidToken as error:
            return invalid_token(error, fault=error.fault.value)
        bound = verified.cnf_jkt is not None or verified.cnf_x5t_s256 is not None
        if bound and not shown and not trust.asserted:
            # RFC 9449 §7.2: a bound token without its proof is no bearer token.
            return NO_PROOF
        # A bound token is let through only with its proof (`_admit_from`); what a gateway asserts about
        # one, it does after the proof (design §3.6).
        principal = self._principal(verified, proven=bound)
        subscription = trust.subscription
        version = 0
        if subscription is not None:
            version = subscription.revoked.version
            if _revoked(subscription, principal):
                return REVOKED
            if not subscription.has_snapshot and trust.feed is not None and trust.feed.start is FeedStart.WAIT:
                return unavailable(Unavailable(f"nothing was heard of the feed of {trust.issuer} yet"))
        known = CachedToken(
            principal=principal,
            scopes=principal.scopes,
            trust=trust,
            key_epoch=epoch,
            revocation_version=version,
            token_bytes=len(token),
            recheck_at=min(verified.exp + self.leeway, now + trust.keys.usable_until() - monotonic),
        )
        self._cache.keep(digest, known)
        return known

    def _judge(
        self, principal: Principal, subscription: Subscription | None, requirement: Requirement, now: float
    ) -> Principal | Refusal:
        verdict = judge(requirement, principal, now=now, leeway=self.leeway)
        if not isinstance(verdict, Allowed):
            return refusal_of(verdict)
        if (
            requirement.when_stale is WhenStale.DENY
            and subscription is not None
            and subscription.stale(self.clock.monotonic())
        ):
            return unavailable(Unavailable(f"the feed of {principal.issuer} is stale", retry_after=2))
        return principal

    def _trust_of(self, token: str) -> Trust:
        """Choose the issuer whose keys are tried. `iss` decides nothing else before the signature is verified."""
        whose = unverified_issuer_of if self._gateway is None else unverified_original_issuer_of
        trust = self._trusts.get(whose(token))
        if trust is None:
            raise InvalidToken(Fault.ISSUER, "the token is from another issuer")
        return trust

    def _principal(self, verified: VerifiedAccessToken, *, proven: bool) -> Principal:
        scopes = verified.scope
        if self._role_scopes:
            scopes = scopes.union(*(self._role_scopes.get(role, ()) for role in verified.roles))
        # What many tokens say alike is kept once for all of them: a quarter of a cached token's memory.
        claims = shared_texts(verified.claims)
        return Principal(
            issuer=Issuer(intern(verified.issuer)),
            subject=Subject(verified.subject),
            client_id=ClientId(intern(verified.client_id)),
            scopes=scopes,
            roles=verified.roles,
            jti=Jti(verified.jti),
            sid=None if verified.sid is None else Sid(verified.sid),
            audience=shared_names(verified.audience),
            issued_at=NumericDate(verified.iat),
            expires_at=NumericDate(verified.exp),
            auth_time=None if verified.auth_time is None else NumericDate(verified.auth_time),
            acr=None if verified.acr is None else intern(verified.acr),
            amr=shared_names(verified.amr),
            kid=None if verified.kid is None else Kid(verified.kid),
            cnf_jkt=verified.cnf_jkt,
            sender_constraint_proven=proven,
            cnf_x5t_s256=verified.cnf_x5t_s256,
            claims=claims,
        )

    # ── drivers ──────────────────────────────────────────────────────────────────────

    async def check(self, token: bytes, requirement: Requirement, sender: Sender | None = None) -> Principal | Refusal:
        """As `admit`, from an event loop: fetches or waits for keys where that is needed."""
        side = await self._on_loop()
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return self.admit(token, requirement, sender)
                except KeysWanted as wanted:
                    await side.keys[wanted.trust.issuer].obtain(wanted)
            return self.admit(token, requirement, sender)
        except KeysWanted as wanted:
            return unavailable(wanted)

    def check_sync(self, token: bytes, requirement: Requirement, sender: Sender | None = None) -> Principal | Refusal:
        """As `admit`, from a thread: fetches or waits for keys where that is needed."""
        side = self._on_threads()
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return self.admit(token, requirement, sender)
                except KeysWanted as wanted:
                    side.keys[wanted.trust.issuer].obtain(wanted)
            return self.admit(token, requirement, sender)
        except KeysWanted as wanted:
            return unavailable(wanted)

    async def start(self) -> None:
        """Fetch keys and follow the feeds, on the running event loop. Waits for both, within `startup_patience`."""
        await self._on_loop()

    async def aclose(self) -> None:
        """Stop what `start` began."""
        starting, side = self._starting, self._loop_side
        self._starting = self._loop_side = None
        self.started = False
        if starting is not None and not starting.done():
            starting.cancel()
        if side is not None:
            await side.aclose()

    def start_sync(self) -> None:
        """Fetch keys and follow the feeds, in threads. Waits for both, within `startup_patience`."""
        self._on_threads()

    def close(self) -> None:
        """Stop what `start_sync` began."""
        with self._start_lock:
            side, self._thread_side = self._thread_side, None
        if side is not None and side.pid == os.getpid():
            side.close()

    def join(self, host: Guard) -> None:
        """Share keys, feeds and open connections with another Guard of this process, which keeps them fresh.

        Raises:
            KeyError: the host does not trust one of this Guard's issuers.
        """
        for issuer, trust in self._trusts.items():
            trust.share(host.trust(issuer))
        self.connections = host.connections
        self._host = host

    async def _on_loop(self) -> LoopSide:
        if self._host is not None:
            self.started = True
            return await self._host._on_loop()
        side = self._loop_side
        if side is not None and side.loop is asyncio.get_running_loop():
            if self._starting is not None and not self._starting.done():
                await asyncio.shield(self._starting)
            return side
        if side is not None:
            side.forget()
        side = self._loop_side = LoopSide(
            tuple(self._trusts.values()), clock=self.clock, on_revoked=self.connections.revoked
        )
        self.started = True
        self._starting = asyncio.create_task(self._until_ready(), name="guard start")
        await asyncio.shield(self._starting)
        return side

    async def _until_ready(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._startup_patience):
                while not self.readiness().ready:  # noqa: ASYNC110 - readiness has many sources and no event of its own
                    await asyncio.sleep(_SHORTEST_NAP)

    def _on_threads(self) -> ThreadSide:
        side = self._thread_side
        # A thread does not survive a fork: each worker process starts its own.
        if side is not None and side.pid == os.getpid():
            return side
        with self._start_lock:
            if self._thread_side is None or self._thread_side.pid != os.getpid():
                side = ThreadSide(tuple(self._trusts.values()), clock=self.clock, on_revoked=self.connections.revoked)
                deadline = time.monotonic() + self._startup_patience
                while not self.readiness().ready and time.monotonic() < deadline:
                    time.sleep(_SHORTEST_NAP)
                self._thread_side = side
            return self._thread_side

    def trust(self, issuer: str) -> Trust:
        """What this Guard knows about one issuer. For drivers and tests; a request never needs it."""
        return self._trusts[issuer]

    # ── for the adapters ─────────────────────────────────────────────────────────────

    def presented(
        self, in_header: bytes | Refusal, request: RequestSeen, requirement: Requirement, *, websocket: bool = False
    ) -> Presented | Refusal:
        """Say which token a request brings, and what it shows of its sender.

        Args:
            in_header: what `token_of` says of the request's headers.
        """
        in_header, by_dpop = self.senders.token_in(in_header, request)
        token = self.or_cookie(in_header, request.header, requirement, websocket=websocket)
        if not isinstance(token, bytes):
            return token
        request.memo[TOKEN] = Secret(token.decode("latin-1"))
        return Presented(token, self.senders.sender_of(request, by_dpop=by_dpop))

    def or_cookie(
        self, in_header: bytes | Refusal, header: HeaderOf, requirement: Requirement, *, websocket: bool = False
    ) -> bytes | Refusal:
        """Choose between the header's token and the cookie's, where the route accepts a cookie: never both."""
        if not requirement.carriers or self.cookie is None or Carrier.COOKIE not in requirement.carriers:
            return in_header
        in_cookie = self.cookie.token_of(header, websocket=websocket)
        if in_cookie is NO_TOKEN:
            return in_header
        return in_cookie if in_header is NO_TOKEN else two_tokens("Authorization and cookie")

    def readiness(self) -> Readiness:
        """Whether every issuer's keys are there and every feed was heard."""
        monotonic = self.clock.monotonic()
        problems = []
        for trust in self._trusts.values():
            if not trust.keys.is_ready(now=monotonic):
                problems.append(f"no keys of {trust.issuer}" + (f": {trust.problem}" if trust.problem else ""))
            if trust.subscription is not None and not trust.subscription.has_snapshot:
                problem = trust.subscription.problem
                problems.append(f"no feed of {trust.issuer}" + (f": {problem}" if problem else ""))
        return Readiness(not problems, tuple(problems), self._alarms(monotonic))

    def _alarms(self, monotonic: float) -> tuple[str, ...]:
        time = self.clock.now()
        return tuple(alarm for feed in self._feeds() for alarm in feed.alarms(monotonic=monotonic, time=time))

    def _feeds(self) -> list[Subscription]:
        return [trust.subscription for trust in self._trusts.values() if trust.subscription is not None]

    def metrics(self) -> str:
        """Render the feeds' metrics in the Prometheus text format: delay from cause to effect, staleness, size, skew.

        For a service to put beside its own, under a path that only its operators reach.
        """
        return render_metrics(self._feeds(), monotonic=self.clock.monotonic(), time=self.clock.now())

    def staleness(self) -> Mapping[str, float]:
        """Issuer → seconds since its feed was known to be complete; infinite before the first snapshot. For metrics."""
        monotonic = self.clock.monotonic()
        return {
            trust.issuer: trust.subscription.freshness.age(monotonic)
            for trust in self._trusts.values()
            if trust.subscription is not None
        }

    def http_refusal(self, refusal: Refusal, *, origin: str | None) -> HttpRefusal:
        """Write a refusal for HTTP, with the CORS headers without which a browser would not show it."""
        written = http_refusal(refusal, challenger=self._challenger)
        return HttpRefusal(written.status, (*written.headers, *self.cors.response_headers(origin)), written.body)

    def grpc_refusal(self, refusal: Refusal) -> GrpcRefusal:
        """Write a refusal for gRPC."""
        return grpc_refusal(refusal, challenger=self._challenger)

    def metadata(self) -> bytes:
        """The RFC 9728 document."""
        return metadata_document(
            resource=self.audience,
            authorization_servers=tuple(self._trusts),
            scopes=tuple(self._scopes_supported),
            dpop_algorithms=self.senders.algorithms,
            certificate_bound=self.senders.certificate is not None,
        )

    def watch(self, principal: Principal, when_over: WhenOver) -> OpenConnection:
        """Register an open connection of the running event loop: `when_over` is told when it must close."""
        connection = self.connections.watch(principal, when_over, ends_in=self.seconds_left(principal))
        if self.is_revoked(principal):
            # Between the check and now: the feed will not say it again.
            connection.end_from_any_thread(REVOKED)
        return connection

    def is_revoked(self, principal: Principal) -> bool:
        """Whether what an admitted principal came by was taken back since."""
        trust = self._trusts.get(principal.issuer)
        return trust is not None and trust.subscription is not None and _revoked(trust.subscription, principal)

    def seconds_left(self, principal: Principal) -> float:
        """How long the principal's token is still accepted, leeway included."""
        return principal.expires_at + self.leeway - self._now()


_ATTEMPTS = 3
_TOO_LONG = Refusal(Case.INVALID_TOKEN, f"The token is longer than {MAX_TOKEN_LENGTH} bytes.", fault="malformed")
_NOT_ASCII = Refusal(Case.INVALID_TOKEN, "The token is not ASCII.", fault="malformed")


def _revoked(subscription: Subscription, principal: Principal) -> bool:
    return subscription.revoked.names(
        sid=principal.sid, jti=principal.jti, client_id=principal.client_id, kid=principal.kid
    )


def _trust(
    issuer: TrustedIssuer,
    *,
    audience: str,
    leeway: int,
    of_guard: RevocationFeed | None,
    key_policy: KeyCachePolicy | None,
    gateway: TrustedGateway | None,
) -> Trust:
    feed = of_guard if isinstance(issuer.revocation, OfGuard) else issuer.revocation
    rules = issuer.rules(audience=audience, leeway=leeway)
    if gateway is not None:
        # Whose callers, and whose feed, stay the issuer's; the keys and what they sign are the gateway's.
        issuer = replace(issuer, jwks_uri=gateway.jwks_uri)
        rules = assertion_rules(issuer=gateway.issuer, audience=audience, algorithms=gateway.algorithms, leeway=leeway)
    return Trust(
        configured=issuer,
        rules=rules,
        asserted=gateway is not None,
        keys=KeyCache(key_policy or KeyCachePolicy(fetch_timeout=16)),
        feed=feed,
        subscription=None
        if feed is None
        else Subscription(Issuer(issuer.issuer), stale_after=feed.stale_after.total_seconds(), leeway=leeway),
    )
