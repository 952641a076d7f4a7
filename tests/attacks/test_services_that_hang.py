"""A service that takes a request and never answers holds no connection of ours for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from portero.client.browser_session import proxy
from tests.client.browser_session.world import World


def test_an_upload_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is streamed has no limit, and what follows its end had none either: some took all connections."""
    asked: list[int] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            asked.append(len(piece))
        writer.close()

    async def listen() -> Any:
        return await asyncio.start_server(silent, "127.0.0.1", 0)

    async def close(server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()

    with World() as world, world.browser() as browser:
        browser.sign_in()
        monkeypatch.setattr(proxy, "_ANSWER_BEGINS", 0.5)
        server = world.loop.run(listen())
        there = httpx2.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/orders")
        world.browser_session._upstreams._places[0] = ("/api/orders", there)

        answer = browser.post("/api/orders", b"x" * (2 * proxy.REPLAYED))

        world.loop.run(close(server))
        assert answer.status_code == 503
        assert sum(asked) > 2 * proxy.REPLAYED
