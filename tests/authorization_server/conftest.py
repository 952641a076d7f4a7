"""What the tests of the authorization server share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.authorization_server.back_channel import BackChannel


@pytest.fixture
def server() -> Iterator[BackChannel]:
    """A server with its back channel, in memory."""
    with asyncio.Runner() as runner:
        yield BackChannel(runner)
