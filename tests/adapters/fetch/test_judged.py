"""Fetching from an address a stranger chose: judged, bounded, and nowhere else than asked."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from portero.adapters.fetch.judged import JudgedFetcher
from portero.core.errors import Unavailable
from portero.core.logout.receivers import Network

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: max-age=9\r\n\r\n{}"


def fetched(answer: bytes, *, networks: list[Network], max_bytes: int = 100) -> tuple[int, str | None, bytes, str]:
    """Serve one answer on a free port and fetch it: status, cache-control, body, and the head that was sent."""

    async def run() -> tuple[int, str | None, bytes, str]:
        heads: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            fetcher = JudgedFetcher(networks=networks, max_bytes=max_bytes)
            status, headers, body = await fetcher.fetch(f"http://localhost:{port}/a?b=c")
        finally:
            server.close()
        return status, headers.get("cache-control"), body, heads[0]

    return asyncio.run(run())


def test_a_document_is_fetched_under_its_own_name() -> None:
    """The address stands in the connection, the name in `Host`."""
    status, cached, body, head = fetched(OK, networks=LOOPBACK)

    assert (status, cached, body) == (200, "max-age=9", b"{}")
    assert head.startswith("GET /a?b=c HTTP/1.1\r\n")
    assert "\r\nhost: localhost:" in head.lower()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "[::]", "169.254.169.254", "10.0.0.1"])
def test_what_is_inside_is_not_asked(name: str) -> None:
    """Special-use addresses are refused before a connection is made, whatever name leads there."""

    async def fetch() -> object:
        return await JudgedFetcher(networks=[], max_bytes=100).fetch(f"http://{name}:1/")

    with pytest.raises(Unavailable) as refused:
        asyncio.run(fetch())

    assert "nothing is sent to" in str(refused.value)


def test_no_redirect_is_followed() -> None:
    """The place behind it was judged by nobody."""
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"

    assert fetched(moved, networks=LOOPBACK)[0] == 302


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_is_read_than_allowed(limit: int) -> None:
    """Both sides of the limit."""
    if limit == 2:
        assert fetched(OK, networks=LOOPBACK, max_bytes=limit)[2] == b"{}"
        return
    with pytest.raises(Unavailable):
        fetched(OK, networks=LOOPBACK, max_bytes=limit)
