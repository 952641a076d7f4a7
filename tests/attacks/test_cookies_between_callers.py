"""A cookie that a service sets for one caller never goes with another's request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.adapters.fetch.requests import FetchRequest
from tests.client.browser_session.world import World


def test_what_a_service_sets_for_one_person_is_not_sent_for_another() -> None:
    """One HTTP client serves all browsers; with its jar, Bruno came to the service with Ana's cookie."""
    with World() as world, world.browser() as ana, world.browser() as bruno:
        ana.sign_in()
        bruno.sign_in("bruno")

        assert ana.get("/api/orders").status_code == 200
        assert bruno.get("/api/orders").status_code == 200

        assert [seen.headers.get("cookie") for seen in world.service.seen] == [None, None]


async def _two_fetches(fetch: Callable[[FetchRequest], Awaitable[object]]) -> list[bool]:
    """Fetch twice from a server that sets a cookie; which of the requests brought one."""
    brought: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        brought.append(b"\r\ncookie:" in head.lower())
        writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: who=ana\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for _ in range(2):
            await fetch(FetchRequest(url))
    return brought


def test_what_the_authorization_server_sets_is_not_sent_for_another() -> None:
    """The same for what is fetched on behalf of callers: tokens, userinfo, keys."""

    async def on_the_loop() -> list[bool]:
        fetcher = AsyncFetcher()
        try:
            return await _two_fetches(fetcher.fetch)
        finally:
            await fetcher.aclose()

    async def in_a_thread() -> list[bool]:
        fetcher = Fetcher()
        try:
            return await _two_fetches(lambda request: asyncio.to_thread(fetcher.fetch, request))
        finally:
            fetcher.close()

    assert asyncio.run(on_the_loop()) == [False, False]
    assert asyncio.run(in_a_thread()) == [False, False]
