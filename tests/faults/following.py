"""A Guard in this process that follows real servers, and what it says of a token."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from portero.core.jose.jws import unverified_payload
from portero.core.types import ClientId, Secret
from portero.resource_server import Guard, Principal, Refusal, RevocationFeed
from tests.races.fleet import BACKEND, SECRET, SERVICE, Fleet

PATIENCE = 60.0


def until(true: Callable[[], bool]) -> None:
    """Wait for a condition; nothing is measured."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


class Watching:
    """A started Guard, asked from the test."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.allow = guard.requires()
        self.deny = guard.requires(when_stale="deny")

    def admits(self, tokens: dict[str, Any]) -> bool:
        """Whether a token answer's access token is accepted on an ordinary route."""
        return isinstance(self._check(tokens, self.allow), Principal)

    def denies(self, tokens: dict[str, Any]) -> bool:
        """Whether a route that refuses when stale answers 503."""
        outcome = self._check(tokens, self.deny)
        return isinstance(outcome, Refusal) and outcome.row.status == 503

    def _check(self, tokens: dict[str, Any], requirement: Any) -> Principal | Refusal:
        return self.guard.check_sync(tokens["access_token"].encode(), requirement)


@contextmanager
def following(fleet: Fleet, *, stale_after: float = 10.0) -> Iterator[Watching]:
    """Follow a fleet's feed as a service would."""
    basic = replace(SERVICE, client_id=ClientId("guard"), token_endpoint_auth_method="client_secret_basic")
    fleet.write(basic)
    feed = RevocationFeed("guard", Secret(SECRET), stale_after=timedelta(seconds=stale_after))
    guard = Guard(
        issuers=[fleet.issuer], audience=BACKEND.audiences[0], revocation=feed, startup_patience=timedelta(seconds=30)
    )
    guard.start_sync()
    try:
        yield Watching(guard)
    finally:
        guard.close()


def sign_out(fleet: Fleet, tokens: dict[str, Any], *, server: int = 0) -> None:
    """End the session at one of the servers."""
    form = {"token": tokens["refresh_token"], "client_id": BACKEND.client_id, "client_secret": SECRET}
    answer = fleet.post("/revoke", form, server=server)
    assert answer.status_code == 200, answer.text


def session_of(tokens: dict[str, Any]) -> str:
    """The `sid` of a token answer."""
    return str(json.loads(unverified_payload(tokens["access_token"]))["sid"])
