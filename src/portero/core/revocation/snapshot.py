"""A snapshot's body, read piece by piece: a hundred thousand entries must not stand in memory as parsed JSON at once.

The server writes its entries one after the other, each beginning with its cursor. Between two of them the body is cut:
the bytes it is cut at cannot stand inside a JSON string, whose quotes are escaped. A body that is written otherwise is
parsed as a whole, with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import orjson

from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.types import Issuer, NumericDate

PIECE: Final = 64 * 1024
"""Bytes parsed at a time, or a little more."""
_BEGIN: Final = b'"entries":['
_BETWEEN: Final = b'},{"cursor":'
_END: Final = b"]}"

Fields = tuple[str, RevokedKind, str, "int | float", int]
"""`iss`, kind, value, `at`, `until`."""


class NotAFeed(Exception):
    """What came is not what design §3.3 says: the answer is thrown away, nothing of it is taken in twice."""


class Snapshot:
    """One snapshot.

    Args:
        body: JSON.
        whole: parse it as a whole, because it was not written as it can be cut.

    Raises:
        NotAFeed: it is none, or cannot be cut; so does the iterator, later.
    """

    def __init__(self, body: bytes, *, whole: bool = False) -> None:
        begin = body.find(_BEGIN)
        self._whole = whole or begin < 0 or not body.endswith(_END)
        self._body = body
        self._start, self._end = begin + len(_BEGIN), len(body) - len(_END)
        self.head = object_of(body if self._whole else body[: self._start] + _END)

    def fields(self) -> Iterator[Fields]:
        """Each entry's fields, in order."""
        for entries in self._parsed():
            for entry in entries:
                yield fields_of(entry)

    def revocations(self) -> Iterator[Revocation]:
        """Each entry, in order."""
        return map(revocation_of, self.fields())

    def _parsed(self) -> Iterator[list[Any]]:
        if self._whole:
            entries = self.head.get("entries")
            if not isinstance(entries, list):
                raise NotAFeed("a snapshot without entries")
            yield entries
            return
        start = self._start
        while start < self._end:
            cut = self._body.find(_BETWEEN, start + PIECE, self._end)
            stop = self._end if cut < 0 else cut + 1
            try:
                yield orjson.loads(b"[%b]" % self._body[start:stop])
            except orjson.JSONDecodeError as error:
                raise NotAFeed("not JSON") from error
            start = stop + 1


def object_of(body: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        NotAFeed: it is none.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAFeed("not JSON") from error
    if not isinstance(document, dict):
        raise NotAFeed("not a JSON object")
    return document


_KINDS: Final = {kind.value: kind for kind in RevokedKind}


def fields_of(entry: Any) -> Fields:
    """Check one entry.

    Raises:
        NotAFeed: it is none.
    """
    if not isinstance(entry, dict):
        raise NotAFeed("an entry that is no object")
    iss, what, until, at = entry.get("iss"), entry.get("what"), entry.get("until"), entry.get("at", 0)
    if not isinstance(what, dict) or len(what) != 1:
        raise NotAFeed("an entry that does not name one thing")
    ((name, value),) = what.items()
    kind = _KINDS.get(name)
    if kind is None or not isinstance(value, str) or not isinstance(iss, str):
        raise NotAFeed("an entry of an unknown kind")
    if type(until) is not int or type(at) not in (int, float) or not math.isfinite(at):
        raise NotAFeed("an entry whose times are no seconds")
    return iss, kind, value, at, until


def revocation_of(fields: Fields) -> Revocation:
    """Make the record of an entry's fields."""
    iss, kind, value, at, until = fields
    # To the nearest: a decimal fraction is rarely a binary one.
    seconds, micros = (at, 0) if isinstance(at, int) else divmod(round(at * 1_000_000), 1_000_000)
    return Revocation(Issuer(iss), kind, value, NumericDate(seconds), NumericDate(until), micros)
