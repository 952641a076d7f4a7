"""Active health checks: each server of a service with `health` is asked for that path every few seconds."""

from __future__ import annotations

import asyncio
from typing import Final

from portero.gateway.embedded.pool import Origin

EVERY: Final = 2.0
WITHIN: Final = 2.0
ILL_AFTER: Final = 2
"""Failed checks in a row; one good one makes it well again."""


async def keep_asking(origin: Origin, path: str) -> None:
    """Ask for ever; cancelled at the end."""
    failed = 0
    while True:
        failed = 0 if await _asked(origin, path) else failed + 1
        origin.well = failed < ILL_AFTER
        await asyncio.sleep(EVERY)


async def _asked(origin: Origin, path: str) -> bool:
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_connection(
                origin.host, origin.port, ssl=origin.tls, server_hostname=origin.host if origin.tls else None
            )
            try:
                request = f"GET {path} HTTP/1.1\r\nhost: {origin.name}\r\nconnection: close\r\n\r\n"
                writer.write(request.encode("ascii", "replace"))
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return line.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2"))
