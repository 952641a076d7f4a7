"""JSON as a security protocol needs it: one text, one meaning (RFC 8259, RFC 7493).

UTF-8 only and no byte order mark; no member twice (RFC 7515 §4, RFC 7519 §4); no NaN, no
Infinity, no number that changes its value on the way; no lone surrogate; bounded depth.

The quick way parses with orjson and accepts when rendering the value gives back the very
bytes that came: a duplicate member, a rounded number or an unusual spelling would not.
Whatever fails that test (whitespace, escapes) takes the slow way, which checks each rule
by itself; the two never disagree about what is acceptable, only about how long it takes.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

import orjson

MAX_DEPTH: Final = 32
"""Objects and arrays inside one another. Tokens need four or five."""
MAX_INTEGER_DIGITS: Final = 64
"""Longer integers are refused; shorter ones are exact."""
_loads: Final = orjson.loads
_dumps: Final = orjson.dumps


class StrictJsonError(ValueError):
    """The bytes are not acceptable JSON. Never quotes them: they may be a secret."""


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse bytes that must be one JSON object.

    Integers are exact `int`s, other numbers finite `float`s.

    Does not check: size (the caller's limit comes first).

    Raises:
        StrictJsonError: not UTF-8, not JSON, not an object, a member twice, a number out of
            bounds, a lone surrogate, or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = _loads(data)
        # No more openers than levels bound the depth without looking where they stand.
        openers = len(data) - len(data.replace(b"{", b"").replace(b"[", b""))
        if openers <= MAX_DEPTH and type(value) is dict and _dumps(value) == data:
            return value
    except (orjson.JSONDecodeError, TypeError):
        pass
    return _parse_slowly(data)


def _parse_slowly(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJsonError("not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except StrictJsonError:
        raise
    except RecursionError:
        raise StrictJsonError("nested too deeply") from None
    except ValueError:  # json.JSONDecodeError is one
        raise StrictJsonError("not JSON") from None
    if type(value) is not dict:
        raise StrictJsonError("not a JSON object")
    _walk(value)
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJsonError("a member name appears twice")
    return members


def _exact_int(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise StrictJsonError("an integer is too long")
    return int(digits)


def _finite_float(text: str) -> float:
    # Python and RFC 8259 agree on the grammar here: the decoder has matched it already.
    if len(text) > 2 * MAX_INTEGER_DIGITS:
        raise StrictJsonError("a number is too long")
    value = float(text)
    if not math.isfinite(value):
        raise StrictJsonError("a number is out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise StrictJsonError("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_members,
    parse_int=_exact_int,
    parse_float=_finite_float,
    parse_constant=_no_constant,
)


def _walk(root: dict[str, Any]) -> None:
    """Refuse depth beyond `MAX_DEPTH` and lone surrogates (which only escapes can spell)."""
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            members: Any = container
            if type(container) is dict:
                for name in container:
                    _require_unicode(name)
                members = container.values()
            for member in members:
                if type(member) is str:
                    _require_unicode(member)
                elif type(member) is dict or type(member) is list:
                    below.append(member)
        if not below:
            return
        level = below
    raise StrictJsonError("nested too deeply")


def _require_unicode(text: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise StrictJsonError("a lone surrogate is no character") from None
