"""Heads of answers that came before: under load a server repeats them within a second, the same but for the content.

What llhttp read of these very bytes it would read of them again, so a head that is known is not read anew; it is
compared as a whole. Only of answers that came in one piece under a `Content-Length`, on a connection that is kept.
"""

from __future__ import annotations

from typing import Final

MOST_KNOWN: Final = 256
LONGEST_KNOWN: Final = 2048


class KnownAnswer:
    """One head, read and written anew.

    Args:
        status: of HTTP.
        head: as the client gets it, without the gateway's own headers and the empty line.
        length: of the content, in bytes.
        allow_origin: whether the server answered CORS itself.
    """

    __slots__ = ("allow_origin", "head", "length", "status")

    def __init__(self, status: int, head: bytes, *, length: int, allow_origin: bool) -> None:
        self.status = status
        self.head = head
        self.length = length
        self.allow_origin = allow_origin


class KnownAnswers(dict[bytes, KnownAnswer]):
    """Those of one server, by the bytes of the head. Bounded: a full one begins again."""

    __slots__ = ()

    def keep(self, head: bytes, known: KnownAnswer) -> None:
        """Remember one."""
        if len(head) <= LONGEST_KNOWN:
            if len(self) >= MOST_KNOWN:
                self.clear()
            self[head] = known
