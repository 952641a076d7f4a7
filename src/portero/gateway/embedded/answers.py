"""The gateway's own answers as bytes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from portero.core.policy.rendering import Header

STATUS_LINES: Final[dict[int, bytes]] = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def rendered(
    status: int, headers: Iterable[Header], body: bytes, *, request_id: bytes = b"", close: bool, head: bool = False
) -> bytes:
    """A whole answer. `content-length` is set here."""
    lines = [status_line(status), b"date: ", _date(), b"\r\n"]
    for name, value in headers:
        if name != "content-length":
            lines.append(f"{name}: {value}\r\n".encode("latin-1", "replace"))
    if request_id:
        lines.append(b"x-request-id: %b\r\n" % request_id)
    if status != 204:
        lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    if not head and status != 204:
        lines.append(body)
    return b"".join(lines)


def _date() -> bytes:
    """RFC 9110 §5.6.7."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
