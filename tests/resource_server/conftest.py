"""An issuer in memory and a Guard that trusts it, without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portero.core.types import Secret
from portero.resource_server import Guard, Principal, Refusal, RevocationFeed
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE
from tests.resource_server import django_service

# Django REST framework cannot even be imported before Django has its settings.
__all__ = ["django_service"]

FEED = RevocationFeed("service", Secret("service-secret"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> InMemoryIssuer:
    return InMemoryIssuer(clock=clock)


@pytest.fixture
def guard(issuer: InMemoryIssuer, clock: FakeClock) -> Guard:
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=FEED, clock=clock)
    issuer.trust_in(guard)
    return guard


@pytest.fixture
def admit(guard: Guard) -> Callable[..., Principal | Refusal]:
    """Admit a token at a route that requires what the keywords say."""

    def admit(token: str, **what: Any) -> Principal | Refusal:
        return guard.admit(token.encode(), guard.requires(**what))

    return admit
