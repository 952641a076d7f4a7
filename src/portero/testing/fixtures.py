"""pytest fixtures for the tests of a service: an issuer, a clock, a key server that misbehaves.

    # conftest.py
    pytest_plugins = ["portero.testing.fixtures"]

    @pytest.fixture
    def portero_guard():
        return guard    # the service's own

No authorization server and no network: the Guard decides as in production, with the keys of
`portero_issuer` and the time of `portero_clock`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from portero.resource_server import Guard
from portero.testing.clock import FakeClock
from portero.testing.jwks_server import JwksServer
from portero.testing.stand_in import StandIn, stand_in_for


@pytest.fixture
def portero_guard() -> Guard:
    """The service's Guard. To be overridden."""
    raise LookupError(
        "override the fixture portero_guard in your conftest.py: it returns your service's Guard "
        "(docs/how-to/test-your-service.md)"
    )


@pytest.fixture
def portero_clock() -> FakeClock:
    """The time the Guard sees: it begins at the real one, and moves by `advance(seconds)` only."""
    return FakeClock(time.time())


@pytest.fixture
def portero_issuer(portero_guard: Guard, portero_clock: FakeClock) -> Iterator[StandIn]:
    """Stands in for the Guard's first issuer: `bearer(scope="orders:read")`, `mint(…)`, `revoke(sid=…)`, `rotate()`."""
    with stand_in_for(portero_guard, clock=portero_clock) as stand_in:
        yield stand_in


@pytest.fixture
def portero_jwks_server() -> Iterator[JwksServer]:
    """An issuer on loopback, with discovery, keys, token endpoint and feed: `behave(Behaviour.STALL)`."""
    with JwksServer() as server:
        yield server
