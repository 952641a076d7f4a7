"""Posting a token to a receiver: one request over one connection, to an address that was judged before.

The name is resolved here, every address is judged (`core.logout.receivers`), and the connection goes to one of
them; TLS still proves the name. No redirect is followed, no proxy is asked, nothing of the answer is used but
its status, and the whole has a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from portero.core.errors import Unavailable
from portero.core.logout.receivers import Network, check_receiver_uri, may_be_told

TIMEOUT: Final = 10.0
"""Seconds for one attempt in all."""
_LONGEST_HEAD: Final = 16 * 1024


class Poster:
    """Posts from an event loop.

    Args:
        networks: where a receiver may be beside the public internet.
        timeout: seconds for one attempt.
        tls: whom to trust; the system's authorities when absent.
    """

    def __init__(
        self, *, networks: Sequence[Network], timeout: float = TIMEOUT, tls: ssl.SSLContext | None = None
    ) -> None:
        self._networks = tuple(networks)
        self._timeout = timeout
        self._tls = tls

    async def post(self, uri: str, body: bytes, *, headers: Mapping[str, str]) -> int:
        """Post `body`; return the status of the answer.

        Raises:
            Unavailable: not a URI or address that is posted to, or no whole answer in time. The message
                names no part of the URI but its host.
        """
        try:
            check_receiver_uri(uri)
        except ValueError as error:
            raise Unavailable(f"not posted: {error}") from None
        url = urlsplit(uri)
        host, secure = url.hostname or "", url.scheme == "https"
        port = url.port or (443 if secure else 80)
        try:
            async with asyncio.timeout(self._timeout):
                address = await judged_address(host, port, networks=self._networks)
                return await self._exchanged(
                    address, port, host if secure else None, _request(uri, body, headers), host
                )
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise Unavailable(f"{host}: {type(error).__name__}") from error

    async def _exchanged(self, address: str, port: int, server_name: str | None, request: bytes, host: str) -> int:
        tls = None if server_name is None else self._context()
        reader, writer = await asyncio.open_connection(
            address, port, ssl=tls, server_hostname=server_name, limit=_LONGEST_HEAD
        )
        try:
            writer.write(request)
            await writer.drain()
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status = _status(head)
                if status >= 200:  # an interim answer (1xx) is followed by the real one
                    return status
        except asyncio.LimitOverrunError:
            raise Unavailable(f"{host} answers with a longer head than is read") from None
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


async def judged_address(host: str, port: int, *, networks: Sequence[Network]) -> str:
    """Resolve a name once, judge every address it has, and return one to connect to.

    Raises:
        OSError: the name has no address.
        Unavailable: one of them is neither public nor in `networks`.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(sockaddr[0]) for *_, sockaddr in found]
    # All of them: a name that also leads inside is not one to trust.
    if not addresses or not all(may_be_told(address, networks=networks) for address in addresses):
        raise Unavailable(f"{host} has an address that nothing is sent to (see delivery_networks)")
    return addresses[0]


def _request(uri: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    url = urlsplit(uri)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    named = {
        "host": url.netloc,
        "user-agent": "portero",
        "connection": "close",
        "content-length": str(len(body)),
        **headers,
    }
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header with a line break")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _status(head: bytes) -> int:
    line = head.split(b"\r\n", 1)[0]
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) != 3 or not code.isdigit():
        raise ValueError("not an HTTP answer")
    return int(code)
