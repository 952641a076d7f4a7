"""Parameters of a request: a strict parser for `application/x-www-form-urlencoded` bodies and query strings.

RFC 6749 §3.1 and §3.2 (a parameter without a value is treated as omitted, none is sent
twice), appendix B (UTF-8, percent-encoded), RFC 8707 §2 (`resource` may repeat). `&` is
the only separator: what `;` means differs between parsers, so it never separates here.

Leaves to the caller: what each parameter means, and the limit on body bytes (which must
hold before the body is in memory).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from portero.core.oauth.errors import invalid_request

FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"
MAX_BODY_BYTES = 64 * 1024
MAX_QUERY_BYTES = 8 * 1024
MAX_PARAMETERS = 64
REPEATABLE = frozenset({"resource"})

_RAW = re.compile(rb"[\x21-\x7e]*")
"""What may stand before decoding: visible ASCII. A space is `+` or `%20`."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Parameters:
    """The parameters of one request; none is empty, only `resource` may have several values.

    A value never shows in a repr: it may be a code, a token or a secret.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, tuple[str, ...]]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """Return the value, or None where it was omitted or empty."""
        values = self._values.get(name)
        return None if values is None else values[0]

    def require(self, name: str) -> str:
        """Return the value.

        Raises:
            RequestError: `invalid_request`, naming the parameter.
        """
        values = self._values.get(name)
        if values is None:
            raise invalid_request(f"the parameter {name} is missing")
        return values[0]

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a repeatable parameter, in order, without duplicates."""
        return tuple(dict.fromkeys(self._values.get(name, ())))

    def with_value(self, name: str, value: str) -> Parameters:
        """Return the same parameters with this one value of `name`."""
        return Parameters({**self._values, name: (value,)})

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Parameters({', '.join(self._values)})"


def parse_form(body: bytes, *, content_type: str | None) -> Parameters:
    """Parse a request body.

    Args:
        body: the whole body, at most `MAX_BODY_BYTES` bytes.
        content_type: the header as received, or None where there was none.

    Raises:
        RequestError: `invalid_request`: wrong content type, too many or repeated
            parameters, broken percent-encoding, not UTF-8, control characters.
    """
    media_type = "" if content_type is None else content_type.partition(";")[0].strip().lower()
    if media_type != FORM_CONTENT_TYPE:
        raise invalid_request(f"the body must be {FORM_CONTENT_TYPE}")
    if len(body) > MAX_BODY_BYTES:
        raise invalid_request("the body is too large")
    return _parse(body)


def parse_query(query: bytes) -> Parameters:
    """Parse a query string (without the `?`), at most `MAX_QUERY_BYTES` bytes.

    Raises:
        RequestError: `invalid_request`, as for `parse_form`.
    """
    if len(query) > MAX_QUERY_BYTES:
        raise invalid_request("the query is too long")
    return _parse(query)


def percent_decode(encoded: str) -> str:
    """Decode one form-urlencoded text (RFC 6749 appendix B).

    Raises:
        RequestError: `invalid_request`.
    """
    try:
        return _decode(encoded.encode("ascii"))
    except UnicodeEncodeError:
        raise invalid_request("parameters must be percent-encoded UTF-8") from None


def _parse(encoded: bytes) -> Parameters:
    values: dict[str, tuple[str, ...]] = {}
    if not encoded:
        return Parameters(values)
    if not _RAW.fullmatch(encoded):
        raise invalid_request("parameters must be percent-encoded UTF-8")
    pairs = encoded.split(b"&", MAX_PARAMETERS)
    if len(pairs) > MAX_PARAMETERS:
        raise invalid_request(f"more than {MAX_PARAMETERS} parameters")
    seen: set[str] = set()
    for pair in pairs:
        raw_name, _, raw_value = pair.partition(b"=")
        name = _decode(raw_name)
        if not name:
            continue
        if name in seen and name not in REPEATABLE:
            # RFC 6749 §3.1: "Request and response parameters MUST NOT be included more than once."
            # An empty repetition counts too: which of two a parser takes must not matter.
            raise invalid_request(f"the parameter {name[:32]} is repeated")
        seen.add(name)
        value = _decode(raw_value)
        if value:
            values[name] = (*values.get(name, ()), value)
    return Parameters(values)


def _decode(encoded: bytes) -> str:
    if b"+" in encoded:
        encoded = encoded.replace(b"+", b" ")
    if b"%" not in encoded:
        return encoded.decode("ascii")
    if _BROKEN_ESCAPE.search(encoded):
        raise invalid_request("a percent escape is broken")
    try:
        text = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid_request("parameters must be percent-encoded UTF-8") from None
    if _CONTROL.search(text):
        raise invalid_request("a parameter contains a control character")
    return text
