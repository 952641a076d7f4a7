"""What the tests of the client share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.world import Hosts, World


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """Two ports for all tests."""
    hosts = Hosts()
    yield hosts
    hosts.close()


@pytest.fixture
def world(hosts: Hosts) -> Iterator[World]:
    """A server and a service of the test's own."""
    with World(hosts) as running:
        yield running
