"""The drivers of conversations: what they do beside the requests, and what an event loop is not kept by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.adapters.fetch.http import AsyncFetcher, Fetcher, system_tls
from portero.adapters.fetch.requests import Conversation, FetchRequest
from portero.testing.jwks_server import JwksServer


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


def breathing(url: str, *, breaths: int) -> Conversation[int]:
    """Two requests with breaths before, between and after."""
    for _ in range(breaths):
        yield None
    first = yield FetchRequest(f"{url}/jwks")
    for _ in range(breaths):
        yield None
    second = yield FetchRequest(f"{url}/missing")
    yield None
    return first.status + second.status


def test_a_breath_lets_everybody_else_on_the_loop_go_first(server: JwksServer) -> None:
    """Each one is a turn of the loop."""

    async def story() -> tuple[int, int]:
        fetcher, turns = AsyncFetcher(), 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        learned = await fetcher.drive(breathing(server.url, breaths=200))
        counting.cancel()
        await fetcher.aclose()
        return learned, turns

    learned, turns = asyncio.run(story())

    assert learned == 604
    assert turns >= 400


def test_a_thread_takes_no_breath(server: JwksServer) -> None:
    """It holds up nobody."""
    fetcher = Fetcher()

    learned = fetcher.drive(breathing(server.url, breaths=3))
    fetcher.close()

    assert learned == 604


def test_the_systems_authorities_are_read_once_and_by_no_event_loop(server: JwksServer, tmp_path: Path) -> None:
    """Reading them takes 20 ms: a fetcher is made without, and so is one for a socket of this machine."""
    system_tls.cache_clear()

    async def story() -> None:
        fetchers = [AsyncFetcher(), AsyncFetcher(), AsyncFetcher(socket=tmp_path / "relay")]
        assert system_tls.cache_info().misses == 0
        for fetcher in fetchers[:2]:
            await fetcher.fetch(FetchRequest(f"{server.url}/jwks"))
        for fetcher in fetchers:
            await fetcher.aclose()

    asyncio.run(story())
    Fetcher(socket=tmp_path / "relay").close()
    Fetcher().close()

    assert system_tls.cache_info().misses == 1


def test_a_closed_fetcher_that_is_asked_is_a_mistake() -> None:
    """Before it was ever used, too."""

    async def story() -> None:
        fetcher = AsyncFetcher()
        await fetcher.aclose()
        await fetcher.fetch(FetchRequest("http://127.0.0.1:9/"))

    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(story())
