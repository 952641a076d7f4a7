"""A session in one program: what the application sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from portero.client.config import Config
from portero.client.core import Core, Era
from portero.client.errors import RefreshUnavailable, SignInRequired, StoreUnavailable
from portero.client.events import Listener
from portero.client.machine import Cause, State
from portero.client.protocol.token import Grant
from portero.client.refresher import Flight, Refresher
from portero.client.sender import Call, Outgoing, Sender
from portero.client.stores import TokenStore
from portero.client.stores.memory import MemoryStore
from portero.client.tokens import Tokens, unverified_claims
from portero.core.types import Secret
from portero.ports import Clock, Random


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """For whoever shows what is going on. Seconds; None: not said. Nothing in it is a token."""

    age: float
    """Since the tokens were asked for: what is left of `expires_in` is `expires_in - age`."""
    expires_in: float | None
    refresh_after: float | None
    refresh_token_expires_in: float | None
    session_expires_in: float | None
    scope: str | None
    refreshable: bool
    sub: str | None
    unverified_claims: Mapping[str, Any] | None
    """What the access token says, if it is a JWT. Never decide anything by it."""


class Session:
    """Keeps one client's tokens, refreshes them, and forgets them. Safe for threads and event loops.

    `portero.client.Auth` sends requests with it; `sign_in_with_browser` and `sign_in_on_device` begin it.

    Args:
        config: see there.
        store: where the tokens lie; in memory by default.
        clock, random: for tests.

    Raises:
        StoreUnavailable: the store cannot be read.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: TokenStore | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.config = config
        self._core = Core(config, store=store or MemoryStore(), clock=clock, random=random)
        self._refresher = Refresher(self._core)
        self._sender = Sender(self._core, self._refresher)

    @property
    def state(self) -> State:
        """Where the session is now."""
        self._core.look()
        return self._core.state

    def on_event(self, listener: Listener) -> Callable[[], None]:
        """Hear every event; returns how to stop. Called later, never in the middle of something."""
        return self._core.events.listen(listener)

    def access_token(self) -> Secret[str]:
        """Return an access token that is good to send, refreshed if that is needed.

        Blocks for a refresh; from an event loop use `asyncio.to_thread`.

        Raises:
            SignInRequired: nobody is signed in, or no longer.
            RefreshUnavailable: it has expired and cannot be renewed right now.
        """
        with _telling(self._core):
            found = self._refresher.usable()
            tokens = found if isinstance(found, Tokens) else self.await_flight(found)
        return tokens.grant.access_token

    def refresh(self) -> None:
        """Refresh now, or join the refresh that is under way. Blocks; raises as `access_token`."""
        self._core.look()
        with _telling(self._core):
            self.await_flight(self._refresher.refresh("asked"))

    def sign_out(self) -> None:
        """Forget everything, here and for the other programs that share the store; then tell the server, best effort.

        Blocks for that last part, no longer than `limits.refresh`.

        Raises:
            StoreUnavailable: the tokens are still in the store. The server was told all the same.
        """
        core = self._core
        with _telling(core):
            tokens = core.tokens
            try:
                # What lies in the store is newer where another program has refreshed.
                tokens = core.stored() or tokens
                core.end(Cause.SIGN_OUT, "user")
            finally:
                core.revoke(None if tokens is None else tokens.refresh_token)

    def token_info(self) -> TokenInfo | None:
        """Return lives and ages; None: signed out."""
        core = self._core
        core.look()
        tokens = core.tokens
        if tokens is None:
            return None
        grant = tokens.grant
        return TokenInfo(
            age=core.age(),
            expires_in=grant.expires_in,
            refresh_after=grant.refresh_after,
            refresh_token_expires_in=grant.refresh_token_expires_in,
            session_expires_in=grant.session_expires_in,
            scope=grant.scope,
            refreshable=tokens.refresh_token is not None,
            sub=tokens.sub,
            unverified_claims=unverified_claims(grant.access_token),
        )

    def close(self) -> None:
        """End this program's part. What is stored stays stored, and the next program goes on with it."""
        core = self._core
        core.end(Cause.DISPOSE, "disposed", wipe=False)
        core.events.tell()
        core.events.clear()
        core.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.config.issuer!r}, {self.config.client_id!r}, {self._core.state.value})"

    # ── for the drivers ──────────────────────────────────────────────────────────────

    def call(self, outgoing: Outgoing) -> Call:
        """Begin one call to a service (`sender`)."""
        return self._sender.call(outgoing)

    def tell(self) -> None:
        """Let the listeners hear what happened."""
        self._core.events.tell()

    @property
    def patience(self) -> float:
        """Seconds after which a waiter for a refresh gives up."""
        return self._refresher.patience

    def await_flight(self, flight: Flight) -> Tokens:
        """Wait for a refresh, with a bound: a name server that hangs must not hang its waiters."""
        try:
            return flight.result(self.patience)
        except TimeoutError:
            raise RefreshUnavailable("timeout") from None

    # ── for the ways to sign in ──────────────────────────────────────────────────────

    @property
    def core(self) -> Core:
        """The inside, for the modules of this package."""
        return self._core

    @contextmanager
    def signing_in(self, how: str) -> Iterator[Era]:
        """Say that the person is on the way; where it leads nowhere, what was there before is there again."""
        core = self._core
        core.look()
        with _telling(core):
            core.transition(Cause.SIGN_IN, how)
            core.events.tell()
            try:
                yield core.era
            except BaseException as error:
                core.transition(Cause.SIGN_IN_FAILED, getattr(error, "code", type(error).__name__))
                if core.tokens is not None:
                    core.transition(Cause.RESTORED, "sign_in_failed")
                raise

    def finish_sign_in(self, grant: Grant, *, era: Era, sent_at: float, key: Secret[str] | None) -> None:
        """Turn a grant into this session's tokens; the ones before are revoked.

        Args:
            era: from `signing_in`.

        Raises:
            SignInRequired: somebody signed out meanwhile; the grant is revoked.
            StoreUnavailable: the tokens cannot be kept; the grant is revoked.
        """
        core = self._core
        if era.over.is_set():
            core.drop(grant.refresh_token)
            raise SignInRequired(era.reason)
        try:
            with core.lock:
                before = core.tokens
                if before is not None:
                    core.end(Cause.SIGN_OUT, "signs in anew", wipe=False)
                    core.transition(Cause.SIGN_IN, "callback")
                core.keep(grant, login=core.random_text(), sent_at=sent_at, key=key)
                core.transition(Cause.CODE_EXCHANGED, "callback")
                self._refresher.forget_failures()
        except StoreUnavailable:
            core.revoke(grant.refresh_token)
            raise
        core.revoke(None if before is None else before.refresh_token)


@contextmanager
def _telling(core: Core) -> Iterator[None]:
    try:
        yield
    finally:
        core.events.tell()
