"""One call to a service: who gets the token, what a 401 means, what may be repeated.

A generator without I/O: it yields what it needs (a refresh to wait for, a request to be sent with these headers) and
is sent what came of it. The drivers (`auth`, `requests`) carry it, in threads and in event loops; none of them holds
a lock meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from portero.client.config import origin_of
from portero.client.core import Core
from portero.client.errors import NotReplayableError, SignInRequired, StepUpRequired
from portero.client.machine import Cause
from portero.client.protocol.challenge import token_challenge
from portero.client.refresher import Flight, Refresher
from portero.client.tokens import Tokens
from portero.core.errors import ConfigurationError

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UNCURED_LIMIT = 100
"""Addresses whose 401 a refresh did not cure; the oldest is forgotten beyond this many."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What has to be known of a request."""

    method: str
    url: str
    replayable: bool
    has_authorization: bool = False
    """The caller brought a credential of his own."""
    trusted: bool = False
    """The address is the authorization server's own, from its metadata."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request with these headers set; None: exactly as it came."""

    headers: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What has to be known of a response. `headers`: finds names in lower case. `url`: where it came from at last."""

    status: int
    headers: Mapping[str, str]
    url: str


Call = Generator[Flight | Send, Tokens | Answer, None]
"""Yields a `Flight`, is sent its `Tokens`; yields a `Send`, is sent the `Answer`. At its end the last one counts."""


class Sender:
    """Makes the calls of one session."""

    def __init__(self, core: Core, refresher: Refresher) -> None:
        self._core = core
        self._refresher = refresher
        self._origins = core.config.origins
        self._lock = threading.Lock()
        self._uncured: dict[str, tuple[int, Tokens]] = {}

    def is_ours(self, url: str) -> bool:
        """Whether this address gets the token. Compared as origins, never as text."""
        try:
            return origin_of(url) in self._origins
        except ConfigurationError:
            return False

    def call(self, outgoing: Outgoing) -> Call:
        """Begin one call.

        Raises:
            SignInRequired, RefreshUnavailable, NotReplayableError, StepUpRequired: see there.
        """
        if outgoing.has_authorization or not (outgoing.trusted or self.is_ours(outgoing.url)):
            yield Send(None)
            return
        found = self._refresher.usable()
        tokens = found if isinstance(found, Tokens) else _tokens((yield found))
        answer = yield from self._send(outgoing, tokens)
        # After a redirect elsewhere the answer is somebody's who never saw the token.
        if answer.status != 401 or origin_of(answer.url) != origin_of(outgoing.url):
            return
        challenge = token_challenge(answer.headers.get("www-authenticate"))
        parameters = {} if challenge is None else challenge.parameters
        error = parameters.get("error")
        self._core.step("request.unauthorized", error or "none", outgoing.url)
        if error == "insufficient_user_authentication":
            raise StepUpRequired(error, acr_values=parameters.get("acr_values"), max_age=parameters.get("max_age"))
        # RFC 6750 §3.1: only `invalid_token` (or nothing said) is cured by another token.
        if error not in {None, "invalid_token"}:
            return
        tries = self._tries(outgoing.url, tokens)
        if tries > 1 and tokens.same_access_token(self._core.tokens):
            self._core.step("request.not_cured", error or "none", outgoing.url)
            return
        found = self._refresher.replace(tokens, "unauthorized")
        fresh = found if isinstance(found, Tokens) else _tokens((yield found))
        if not outgoing.replayable:
            raise NotReplayableError("the body is a stream or a file, and the token was refused")
        # Without a challenge nobody knows whether the handler ran: then only what is safe to repeat is repeated.
        if challenge is None and not self._core.config.replay_unsafe and outgoing.method not in _SAFE:
            return
        self._core.step("request.retried", error or "none", outgoing.url)
        second = yield from self._send(outgoing, fresh)
        self._remember(outgoing.url, None if second.status != 401 else (tries + 1, fresh))

    def _send(self, outgoing: Outgoing, tokens: Tokens) -> Generator[Send, Any, Answer]:
        core = self._core
        access_token = tokens.grant.access_token
        if not core.config.dpop:
            # RFC 6750 §2.1: in the header, never in the address or the body.
            answer: Answer = yield Send({"Authorization": f"Bearer {access_token.reveal()}"})
            return answer
        if tokens.key is None:
            core.end(Cause.KEY_LOST, "key_lost")
            raise SignInRequired("key_lost")
        prover = core.prover_of(tokens.key)
        again = False
        while True:
            # A new proof for each attempt (RFC 9449 §11.1).
            proof = prover.proof(outgoing.method, outgoing.url, access_token=access_token)
            answer = yield Send({"Authorization": f"DPoP {access_token.reveal()}", "DPoP": proof})
            news = prover.learn(outgoing.url, answer.headers)
            challenge = token_challenge(answer.headers.get("www-authenticate"))
            error = None if challenge is None else challenge.parameters.get("error")
            if again or not news or answer.status != 401 or error not in {"use_dpop_nonce", "invalid_dpop_proof"}:
                return answer
            if not outgoing.replayable:
                raise NotReplayableError("the body is a stream or a file, and the server asked for another proof")
            again = True

    def _tries(self, url: str, tokens: Tokens) -> int:
        with self._lock:
            tries, tried = self._uncured.get(url, (0, None))
        return tries if tokens.same_access_token(tried) else 0

    def _remember(self, url: str, uncured: tuple[int, Tokens] | None) -> None:
        with self._lock:
            self._uncured.pop(url, None)
            if uncured is not None:
                self._uncured[url] = uncured
            if len(self._uncured) > _UNCURED_LIMIT:
                del self._uncured[next(iter(self._uncured))]


def _tokens(sent: Tokens | Answer) -> Tokens:
    if not isinstance(sent, Tokens):
        raise TypeError("a flight is answered with tokens")
    return sent
