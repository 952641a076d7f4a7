"""What the parts of a session share: its state, the tokens and their store, the server, and what happened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from portero.adapters.fetch.http import Fetcher, TooSlow
from portero.adapters.fetch.requests import Fetched, FetchRequest, Limits
from portero.adapters.system import SystemClock, SystemRandom
from portero.client.config import Config
from portero.client.dpop import Prover, make_key
from portero.client.errors import DiscoveryFailed, SignInRequired, StoreUnavailable
from portero.client.events import Events, Step, Transitioned
from portero.client.machine import Cause, State, next_state
from portero.client.protocol.metadata import ServerMetadata, discovery_request, process_discovery_response
from portero.client.protocol.token import (
    ClientIdentity,
    Grant,
    NoAnswer,
    TokenOutcome,
    process_token_response,
    revocation_request,
)
from portero.client.stores import TokenStore
from portero.client.tokens import Tokens, age_of, parse_tokens, render_tokens, tokens_from
from portero.core.errors import Unavailable
from portero.core.jose.base64url import encode
from portero.core.types import Secret
from portero.ports import Clock, Random

Build = Callable[[ServerMetadata], FetchRequest]


class Era:
    """One sign-in in this process: what is in flight when it ends, ends with it."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.reason = "user"
        self.flight: Future[Tokens] | None = None
        """The refresh that is under way, or the last one."""

    def end(self, reason: str) -> None:
        """End it, and free whoever waits for its refresh."""
        self.reason = reason
        self.over.set()
        if self.flight is not None:
            settle(self.flight, SignInRequired(reason))


def settle(flight: Future[Tokens], result: Tokens | BaseException) -> None:
    """Tell the waiters; whoever comes second (the end of the era, or the flight itself) is too late."""
    with suppress(InvalidStateError):
        if isinstance(result, BaseException):
            flight.set_exception(result)
        else:
            flight.set_result(result)


class Core:
    """The shared part. `lock` guards state and tokens, is held for moments only, and never over I/O of the network."""

    def __init__(
        self,
        config: Config,
        *,
        store: TokenStore,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.clock: Clock = clock or SystemClock()
        self.random: Random = random or SystemRandom()
        self.events = Events()
        self.lock = threading.RLock()
        self.state = State.SIGNED_OUT
        self.tokens: Tokens | None = None
        self.age: Callable[[], float] = lambda: 0.0
        self.era = Era()
        self.who = ClientIdentity(config.client_id, config.client_secret)
        self.prover: Prover | None = None
        self._fetcher = Fetcher(
            limits=Limits(timeout=config.limits.refresh), trust_env=True, ssl_context=config.ssl_context
        )
        self._metadata: ServerMetadata | None = None
        self._seen = store.version()
        restored = self.stored()
        if restored is not None:
            self.hold(restored)
            self.transition(Cause.RESTORED, type(store).__name__)

    # ── what happened ────────────────────────────────────────────────────────────────

    def transition(self, cause: Cause, reason: str) -> None:
        """Change the state by a row of the table; without one nothing happens."""
        with self.lock:
            source, target = self.state, next_state(self.state, cause)
            if target is None:
                return
            self.state = target
            self.events.add(Transitioned(source, target, cause, reason, self.clock.now()))

    def step(self, name: str, reason: str, url: str | None = None) -> None:
        """Say what was done; an address without what may be secret in it."""
        clean = None if url is None else url.partition("?")[0].partition("#")[0]
        self.events.add(Step(name, reason, clean, self.clock.now()))

    # ── the server ───────────────────────────────────────────────────────────────────

    def fetch(self, request: FetchRequest) -> Fetched:
        """Do one request to the authorization server.

        Raises:
            Unavailable: no answer.
        """
        if self.state is State.DISPOSED:
            raise Unavailable("this session is closed")
        return self._fetcher.fetch(request)

    def metadata(self) -> ServerMetadata:
        """Return the server's metadata, asked for once; a failure is asked again.

        Raises:
            Unavailable: no answer.
            DiscoveryFailed: an answer that is not this issuer's metadata.
        """
        if self._metadata is None:
            answer = self.fetch(discovery_request(self.config.issuer))
            self._metadata = process_discovery_response(answer, expected_issuer=self.config.issuer)
        return self._metadata

    def ask(self, name: str, build: Build, *, key: Secret[str] | None = None) -> TokenOutcome:
        """Ask the token endpoint; whatever happens is an outcome.

        Args:
            name: of the step.
            key: prove possession of it; None: no proof.
        """
        try:
            request = build(self.metadata())
            self.step(name, self.state.value, request.url)
            answer = self.fetch_with_proof(request, key)
        except DiscoveryFailed:
            return NoAnswer("discovery_failed")
        except TooSlow:
            return NoAnswer("timeout")
        except Unavailable:
            return NoAnswer("network")
        return process_token_response(answer, now=self.clock.now())

    def fetch_with_proof(self, request: FetchRequest, key: Secret[str] | None) -> Fetched:
        """Do one request, a POST, and prove possession of the key; None: no proof.

        Raises:
            Unavailable: no answer.
        """
        if key is None:
            return self.fetch(request)
        prover = self.prover_of(key)
        for again in (False, True):
            proof = prover.proof("POST", request.url)
            answer = self.fetch(
                FetchRequest(request.url, headers={**request.headers, "dpop": proof}, form=request.form)
            )
            if not (prover.learn(request.url, answer.headers) and answer.status in {400, 401}) or again:
                break
        return answer

    def prover_of(self, key: Secret[str]) -> Prover:
        """Return the prover of a key: the one we have, with its nonces, or a new one."""
        with self.lock:
            if self.prover is None or not self.prover.key.matches(key):
                self.prover = Prover(key, clock=self.clock, random=self.random)
            return self.prover

    def new_key(self) -> Secret[str] | None:
        """Make a key for a sign-in; None: this session's tokens are bearer tokens."""
        return make_key() if self.config.dpop else None

    def revoke(self, refresh_token: Secret[str] | None) -> None:
        """Tell the server that we have forgotten this token, best effort."""
        if refresh_token is None:
            return
        try:
            url = self.metadata().revocation_endpoint
            if url is not None:
                self.step("revoke.sent", self.state.value, url)
                self.fetch(revocation_request(url, self.who, refresh_token=refresh_token))
        except (Unavailable, DiscoveryFailed):
            self.step("revoke.failed", self.state.value)

    # ── the tokens ───────────────────────────────────────────────────────────────────

    def random_text(self) -> str:
        """128 random bits: 22 characters."""
        return encode(self.random.bytes(16))

    def stored(self) -> Tokens | None:
        """Return what the store holds now; another process may have written it."""
        return parse_tokens(self.store.read())

    def hold(self, tokens: Tokens) -> Tokens:
        """Take over tokens that are in the store."""
        with self.lock:
            self.age = age_of(tokens, self.clock)
            self.tokens = tokens
        return tokens

    def keep(
        self,
        grant: Grant,
        *,
        login: str,
        sent_at: float,
        previous: Tokens | None = None,
        key: Secret[str] | None = None,
    ) -> Tokens:
        """Take over what the server granted: in the store before anything is said of it.

        A refresh that cannot be stored (a full disk) still serves this process: whoever finds the token before it in
        the store sends the same attempt and gets the same answer.

        Raises:
            StoreUnavailable: the tokens of a new sign-in cannot be stored.
        """
        tokens = tokens_from(grant, login=login, at=sent_at, previous=previous, key=key)
        try:
            self.store.write(render_tokens(tokens))
        except StoreUnavailable:
            if previous is None:
                raise
            self.step("store.failed", self.state.value)
        self._seen = self.store.version()
        return self.hold(tokens)

    def end(self, cause: Cause, reason: str, *, wipe: bool = True) -> None:
        """End this sign-in in this process. `wipe`: in the store too, unless it holds somebody else's by now.

        Raises:
            StoreUnavailable: the store keeps its tokens; in this process it is over all the same.
        """
        # In the lock: a refresh that lands now either wrote before this, or finds its era over.
        with self.lock:
            era, self.era = self.era, Era()
            self.tokens = None
            self.prover = None
            self.transition(cause, reason)
            try:
                if wipe:
                    self.store.write(None)
                self._seen = self.store.version()
            finally:
                # Last: whoever hears of it finds nothing in the store any more.
                era.end(reason)

    def drop(self, refresh_token: Secret[str] | None) -> None:
        """Tokens that came too late must not bring anybody back, and nobody shall find them."""
        self.step("refresh.dropped", self.state.value)
        self.revoke(refresh_token)

    def look(self) -> None:
        """Compare with the store that other processes share; costs a `stat` where nothing has changed."""
        if not self.store.shared or self.store.version() == self._seen:
            return
        with self.lock:
            if self.state in {State.SIGNING_IN, State.DISPOSED}:
                return
            self._seen, tokens, stored = self.store.version(), self.tokens, self.stored()
            if (stored is None) if tokens is None else tokens.same_access_token(stored):
                return
            if tokens is not None and (stored is None or stored.sub != tokens.sub):
                cause = Cause.SIGNED_OUT_ELSEWHERE if stored is None else Cause.USER_CHANGED
                self.end(cause, "another process", wipe=False)
            if stored is not None:
                self.hold(stored)
                self.transition(Cause.ADOPTED, "another process")

    def close(self) -> None:
        """Let go of the connections."""
        with suppress(Exception):
            self._fetcher.close()
