"""A token goes where the allow-list says, and nowhere that place points to."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from portero.client.browser_session.exchange import Exchange
from portero.client.browser_session.proxy import Target
from portero.client.browser_session.proxy_websocket import pass_on_websocket
from portero.client.browser_session.records import Session
from portero.core.types import Secret

SESSION = Session(
    key="k", sub="ana", sid=None, claims={}, access_token=Secret("ana's-token"), access_until=2e9, refresh_from=2e9,
    refresh_token=None, started=0.0, ends=2e9,
)  # fmt: skip


def test_a_websocket_follows_no_redirect() -> None:
    """As the proxy's requests: a service that answers with a redirect is no way to what is not on the list."""
    asked: list[bytes] = []
    sent: list[Any] = []

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: /admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def story() -> None:
        server = await asyncio.start_server(redirecting, "127.0.0.1", 0)
        async with server:
            url = httpx2.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/orders")
            scope = {"type": "websocket", "path": "/api/orders/live", "headers": [], "subprotocols": []}
            await pass_on_websocket(Exchange(scope, receive, send), Target(url, b"/orders/live"), SESSION)

    asyncio.run(story())

    assert [head.split(b" ")[1] for head in asked] == [b"/orders/live"]
    assert [message["type"] for message in sent] == ["websocket.close"]
