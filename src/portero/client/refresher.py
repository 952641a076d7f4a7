"""The refresh: one flight for everybody, one attempt per refresh token, and only a refusal ends the session.

The flight runs in a thread of its own, so that whoever asked for it may give up, be cancelled, or belong to an event
loop that ends: the refresh goes on, and the next caller finds its tokens. Nobody holds a lock while he waits for it.
"""

from __future__ import annotations

import hashlib
import math
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from portero.client.core import Core, Era, settle
from portero.client.errors import ClientError, RefreshUnavailable, SignInRequired, StoreUnavailable
from portero.client.machine import Cause, State
from portero.client.protocol.token import (
    Granted,
    NoAnswer,
    Refused,
    client_credentials_request,
    refresh_request,
)
from portero.client.tokens import Tokens, due_after, usable_for

Flight = Future[Tokens]

_MAY_BE_TRIED = frozenset({"network", "discovery_failed"})
"""A server that is unwell is left alone even by impatient callers; a dead network may be tried at any time."""


@dataclass(frozen=True, slots=True)
class _Renewed:
    tokens: Tokens
    cause: Cause


@dataclass(frozen=True, slots=True)
class _Over:
    """No session any more: signed out, or somebody else's."""


_Outcome = _Renewed | _Over | Refused | NoAnswer


class Refresher:
    """Keeps the tokens of one session fresh."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._jitter = core.random.bytes(1)[0] / 256
        self._failures = 0
        self._failure = ""
        # Steady seconds: not at all before the first, and not on our own before the second.
        self._not_before = -math.inf
        self._retry_at = -math.inf

    @property
    def patience(self) -> float:
        """Seconds after which a waiter gives up, whatever hangs: longer than everything a flight does."""
        limits = self._core.config.limits
        return 2 * limits.lock + 6 * limits.refresh + limits.superseded

    def usable(self) -> Tokens | Flight:
        """Return a token that is good to send, or the flight that brings one.

        A proactive refresh never makes a caller wait.

        Raises:
            SignInRequired: there is no session.
            RefreshUnavailable: none can be had right now.
        """
        core = self._core
        core.look()
        tokens = core.tokens
        if tokens is None:
            if core.config.client_credentials:
                return self.refresh("first")
            raise SignInRequired(core.state.value)
        age = core.age()
        if age >= usable_for(tokens.grant):
            return self.replace(tokens, "expired")
        if age >= due_after(tokens.grant, jitter=self._jitter) and core.clock.monotonic() >= self._retry_at:
            self.refresh("proactive")
        return tokens

    def replace(self, stale: Tokens, reason: str) -> Tokens | Flight:
        """Return a token other than `stale`: another request may have fetched it already.

        Raises:
            SignInRequired: the session ended meanwhile.
            RefreshUnavailable: none can be had right now.
        """
        core = self._core
        core.look()
        tokens = core.tokens
        if tokens is not None and not tokens.same_access_token(stale):
            return tokens
        return self.refresh(reason)

    def refresh(self, reason: str) -> Flight:
        """Join the flight that is under way, or start one.

        Raises:
            SignInRequired: there is nothing to refresh.
            RefreshUnavailable: the server asked to be left alone.
        """
        core = self._core
        with core.lock:
            # One that a sign-out has left behind lands on its own.
            current = core.era.flight
            if current is not None and not current.done():
                return current
            if core.state is State.DISPOSED or (core.tokens is None and not core.config.client_credentials):
                raise SignInRequired(core.state.value)
            left = self._not_before - core.clock.monotonic()
            if left > 0:
                raise RefreshUnavailable(self._failure, retry_after=math.ceil(left))
            flight: Flight = Future()
            # From here on nobody who waits can cancel it.
            flight.set_running_or_notify_cancel()
            core.era.flight = flight
            arguments = (flight, core.era, core.tokens, reason)
        threading.Thread(target=self._fly, args=arguments, name="portero-refresh", daemon=True).start()
        return flight

    def forget_failures(self) -> None:
        """A new sign-in begins without the failures of the last."""
        self._failures, self._not_before, self._retry_at = 0, -math.inf, -math.inf

    def _fly(self, flight: Flight, era: Era, before: Tokens | None, reason: str) -> None:
        try:
            settle(flight, self._run(era, before, reason))
        except BaseException as error:  # a bug of ours, too, is what the waiters are told
            if isinstance(error, StoreUnavailable):
                self._core.transition(Cause.REFRESH_FAILED, error.code)
            settle(flight, error)
        finally:
            self._core.events.tell()

    def _run(self, era: Era, before: Tokens | None, reason: str) -> Tokens:
        core, limits = self._core, self._core.config.limits
        core.transition(Cause.SIGN_IN if before is None else Cause.REFRESH, reason)
        again = False
        while True:
            with core.store.exclusively(limits.lock):
                outcome = self._once(era, before, again=again)
            core.events.tell()
            match outcome:
                case _Renewed():
                    self._failures, self._not_before = 0, -math.inf
                    core.transition(outcome.cause, reason)
                    return outcome.tokens
                case NoAnswer():
                    raise self._failed(era, outcome, first=before is None)
                case _Over():
                    with core.lock:
                        if core.era is era:
                            core.end(Cause.SIGNED_OUT_ELSEWHERE, "another process", wipe=False)
                case Refused(reason="superseded") if not again:
                    # Somebody used the successor. Wait out the server's window, and a second, and ask once more with
                    # a new attempt: not proven, so if a thief won the race, this exposes him (decision 0021).
                    core.step("refresh.waits", "superseded")
                    again = not era.over.wait(limits.superseded)
                case Refused():
                    with core.lock:
                        if core.era is era:
                            core.end(Cause.REFRESH_REFUSED, outcome.reason)
            if era.over.is_set():
                raise SignInRequired(era.reason)

    def _failed(self, era: Era, outcome: NoAnswer, *, first: bool) -> ClientError:
        core = self._core
        with core.lock:
            if core.era is not era:
                return SignInRequired(era.reason)
            now = core.clock.monotonic()
            jitter = 0.5 + core.random.bytes(1)[0] / 512
            back_off = min(60.0, 2.0**self._failures) * jitter
            self._failures, self._failure = min(self._failures + 1, 10), outcome.reason
            if outcome.retry_after is not None:
                self._not_before = now + outcome.retry_after
            else:
                self._not_before = now + (0.0 if outcome.reason in _MAY_BE_TRIED else back_off)
            self._retry_at = max(now + back_off, self._not_before)
            core.transition(Cause.SIGN_IN_FAILED if first else Cause.REFRESH_FAILED, outcome.reason)
        return RefreshUnavailable(outcome.reason, retry_after=outcome.retry_after, error=outcome.error)

    # ── one look at the store and at most one POST: what the store's lock encloses ────

    def _once(self, era: Era, before: Tokens | None, *, again: bool) -> _Outcome:
        if self._core.config.client_credentials:
            return self._for_itself(era, before)
        assert before is not None  # noqa: S101 - `refresh` refuses to start without
        while True:
            outcome = self._try(era, before, again=again)
            if outcome is not None:
                return outcome

    def _try(self, era: Era, before: Tokens, *, again: bool) -> _Outcome | None:
        """One try; None: another process is ahead, and what it has stored counts, not what we were told."""
        core = self._core
        tokens = core.stored()
        if era.over.is_set() or tokens is None or tokens.login != before.login:
            return _Over()
        if not tokens.same_access_token(before):
            adopted = self._adopt(era, tokens)
            if adopted is not None:
                return adopted
        refresh_token = tokens.refresh_token
        if refresh_token is None:
            return Refused("expired")
        if core.config.dpop and tokens.key is None:
            return Refused("key_lost")
        key = hashlib.sha256((refresh_token.reveal() + ("2" if again else "")).encode()).hexdigest()
        attempt = core.store.attempt(key, core.random_text())
        # Ours to use only if it is still the one: a slow disk is enough for another process to overtake.
        if not _same_refresh_token(core.stored(), tokens):
            return None

        sent_at = core.clock.now()
        outcome = core.ask(
            "refresh.sent",
            lambda metadata: refresh_request(
                metadata.token_endpoint, core.who, refresh_token=refresh_token, refresh_attempt=attempt
            ),
            key=tokens.key,
        )
        core.step("refresh.answered", "granted" if isinstance(outcome, Granted) else outcome.reason)
        with core.lock:
            stored = core.stored()
            same = not era.over.is_set() and stored is not None and stored.login == before.login
            overtaken = not _same_refresh_token(stored, tokens)
            if not isinstance(outcome, Granted):
                ahead = same and overtaken and isinstance(outcome, Refused)
                return None if ahead else outcome
            successor = outcome.grant.refresh_token
            if same and (not overtaken or (successor is not None and _holds(stored, successor.reveal()))):
                # Another process may have stored the same successor already: it sent the same attempt.
                kept = core.keep(outcome.grant, login=before.login, sent_at=sent_at, previous=tokens)
                return _Renewed(kept, Cause.REFRESHED)
        if same:
            return None
        core.drop(successor or refresh_token)
        return _Over()

    def _adopt(self, era: Era, tokens: Tokens) -> _Renewed | None:
        core = self._core
        with core.lock:
            if era.over.is_set():
                return None
            core.step("refresh.adopted", core.state.value)
            core.hold(tokens)
            return _Renewed(tokens, Cause.ADOPTED) if core.age() < usable_for(tokens.grant) else None

    def _for_itself(self, era: Era, before: Tokens | None) -> _Outcome:
        core, config = self._core, self._core.config
        stored = core.stored()
        cause = Cause.CODE_EXCHANGED if before is None else Cause.REFRESHED
        if stored is not None and (before is None or not stored.same_access_token(before)):
            adopted = self._adopt(era, stored)
            if adopted is not None:
                return _Renewed(adopted.tokens, cause)
        sent_at = core.clock.now()
        key = (None if before is None else before.key) or core.new_key()
        outcome = core.ask(
            "token.sent",
            lambda metadata: client_credentials_request(
                metadata.token_endpoint, core.who, scope=config.scope, resources=config.resources
            ),
            key=key,
        )
        if isinstance(outcome, Refused):
            return NoAnswer("client_refused", error="invalid_grant")
        if isinstance(outcome, NoAnswer):
            return outcome
        with core.lock:
            if era.over.is_set():
                return _Over()
            login = core.random_text() if before is None else before.login
            kept = core.keep(outcome.grant, login=login, sent_at=sent_at, key=key)
        return _Renewed(kept, cause)


def _holds(stored: Tokens | None, refresh_token: str) -> bool:
    held = None if stored is None else stored.refresh_token
    return held is not None and held.reveal() == refresh_token


def _same_refresh_token(stored: Tokens | None, tokens: Tokens) -> bool:
    mine = tokens.refresh_token
    return mine is not None and _holds(stored, mine.reveal())
