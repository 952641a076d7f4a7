"""A WebSocket through the proxy: the handshake carries the token, and the frames are passed on (RFC 6455).

Needs the package `websockets` (`pip install portero[browser-session]`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from portero.client.browser_session.exchange import Exchange
from portero.client.browser_session.proxy import Target
from portero.client.browser_session.records import Session

_OPEN_WITHIN: Final = 10.0
_LARGEST: Final = 1024 * 1024
"""Bytes of a message."""


async def pass_on_websocket(exchange: Exchange, target: Target, session: Session) -> None:
    """Open the same WebSocket at the service, and copy messages both ways until one side closes."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

    class NoRedirects(connect):
        """As the proxy's other requests: what is on the list gets the token, and nothing that it points to."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    url = target.url.copy_with(scheme="wss" if target.base.scheme == "https" else "ws")
    await exchange.receive()  # websocket.connect
    try:
        connection = await NoRedirects(
            str(url),
            additional_headers={"Authorization": f"Bearer {session.access_token.reveal()}"},
            subprotocols=exchange.scope.get("subprotocols") or None,
            open_timeout=_OPEN_WITHIN,
            max_size=_LARGEST,
            proxy=None,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        await exchange.send({"type": "websocket.close", "code": 4400 + status % 100 if 400 <= status < 500 else 1013})
        return
    except (WebSocketException, OSError, TimeoutError):
        await exchange.send({"type": "websocket.close", "code": 1013})
        return
    async with connection:
        await exchange.send({"type": "websocket.accept", "subprotocol": connection.subprotocol})
        outward = asyncio.ensure_future(_outward(exchange, connection))
        inward = asyncio.ensure_future(_inward(exchange, connection))
        try:
            done, _ = await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionClosed:
            pass
        finally:
            for task in (outward, inward):
                task.cancel()
            await asyncio.gather(outward, inward, return_exceptions=True)


async def _outward(exchange: Exchange, connection: Any) -> None:
    while True:
        message = await exchange.receive()
        if message["type"] == "websocket.disconnect":
            await connection.close(code=_sendable(message.get("code", 1000)))
            return
        text = message.get("text")
        await connection.send(message["bytes"] if text is None else text)


async def _inward(exchange: Exchange, connection: Any) -> None:
    async for message in connection:
        await exchange.send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
    await exchange.send({"type": "websocket.close", "code": _sendable(connection.close_code or 1000)})


def _sendable(code: int) -> int:
    # RFC 6455 §7.4.1: some codes only say that none was sent.
    return 1000 if code in (1004, 1005, 1006, 1015) else code
