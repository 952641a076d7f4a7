"""A chunked request body, read strictly (RFC 9112 §7.1), and the chunked coding written.

Stricter than the RFC, because readers differ here: no chunk extensions, sizes of at most eight
hex digits without a sign or space, lines that end in CRLF and nothing else. Trailer fields are
read like headers.
"""

from __future__ import annotations

import re
from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"
MOST_TRAILER_BYTES: Final = 8192
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}\Z")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*"
                           rb"[\x21-\x7e\x80-\xff])?)?)[ \t]*\Z")  # fmt: skip


class BadChunks(Exception):
    """The body is no chunked coding as this reader takes it. The text is for the wire."""


class ChunkReader:
    """Takes bytes as they come; `feed` gives the content among them.

    After the end `done` is true, `trailers` holds the trailer fields, and `rest` what came after
    the body: the next request.
    """

    __slots__ = ("_awaits", "_buffer", "_left", "_trailer_bytes", "done", "rest", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self._buffer = b""
        self._left = 0
        """Bytes of the present chunk still to come."""
        self._awaits = _SIZE_LINE
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Read on.

        Raises:
            BadChunks: the coding is broken, or could be read in another way.
        """
        content: list[bytes] = []
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        place = 0
        while place < len(data):
            if self._awaits == _CONTENT:
                piece = data[place : place + self._left]
                content.append(piece)
                place += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._awaits = _CONTENT_END
                continue
            end = data.find(b"\n", place)
            if end < 0:
                if len(data) - place > _LONGEST_LINE[self._awaits]:
                    raise BadChunks("A line of the chunked body is too long.")
                self._buffer = data[place:]
                break
            line = data[place:end]
            place = end + 1
            if not line.endswith(b"\r") or line.count(b"\r") != 1:
                raise BadChunks("A line of the chunked body does not end in CRLF.")
            self._take_line(line[:-1])
            if self.done:
                self.rest = data[place:]
                break
        return content

    def _take_line(self, line: bytes) -> None:
        if self._awaits == _CONTENT_END:
            if line:
                raise BadChunks("A chunk is longer than its size says.")
            self._awaits = _SIZE_LINE
        elif self._awaits == _SIZE_LINE:
            if _SIZE.match(line) is None:
                raise BadChunks("A chunk's size is not plain hexadecimal, or has extensions.")
            self._left = int(line, 16)
            self._awaits = _CONTENT if self._left else _TRAILER
        elif line:
            self._trailer_bytes += len(line)
            field = _FIELD.match(line)
            if field is None or self._trailer_bytes > MOST_TRAILER_BYTES:
                raise BadChunks("A trailer field is malformed or too long.")
            self.trailers.append((field[1], field[2]))
        else:
            self.done = True


_SIZE_LINE, _CONTENT, _CONTENT_END, _TRAILER = range(4)
_LONGEST_LINE: Final = {_SIZE_LINE: 10, _CONTENT_END: 2, _TRAILER: MOST_TRAILER_BYTES}


def chunk(content: bytes) -> bytes:
    """One chunk; of nothing, nothing (an empty chunk would end the body)."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n"
