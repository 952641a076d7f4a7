"""JSON with one meaning."""

from __future__ import annotations

import json
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.jose.strict_json import MAX_DEPTH, MAX_INTEGER_DIGITS, StrictJsonError, _parse_slowly, parse_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)


def nested(levels: int) -> bytes:
    """An object with that many levels, the object included."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@given(OBJECTS)
def test_ordinary_objects_come_through_exactly(value: dict[str, object]) -> None:
    """RFC 8259: what a usual encoder writes, in any of its spellings, is read as what it was."""
    for text in (json.dumps(value), json.dumps(value, indent=1), json.dumps(value, ensure_ascii=False)):
        assert parse_object(text.encode()) == value


@given(st.binary(max_size=40) | OBJECTS.map(lambda value: json.dumps(value).encode()))
def test_the_quick_way_accepts_nothing_the_slow_way_refuses(data: bytes) -> None:
    """Both ways have one opinion."""
    outcomes: list[object] = []
    for parse in (parse_object, _parse_slowly):
        try:
            outcomes.append(parse(data))
        except StrictJsonError:
            outcomes.append(None)

    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":["x",{"b":"\\ud83d"}]}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\n"}',
        b'{"a":01}',
        b'{"a":1,}',
        b"{'a':1}",
        b"{} {}",
        b"[]",
        b'"a"',
        b"1",
        b"null",
        b"",
        b"{",
    ],
)
def test_ambiguous_or_broken_json_is_refused(data: bytes) -> None:
    """RFC 7493 §2: duplicate members, numbers that are none, wrong encodings, lone surrogates, other roots."""
    with pytest.raises(StrictJsonError):
        parse_object(data)


def test_integers_stay_exact_up_to_the_bound() -> None:
    """10^30 is not 1e30; a digit past the bound is refused instead of costing quadratic time."""
    assert parse_object(b'{"a":1' + b"0" * 30 + b"}") == {"a": 10**30}
    assert parse_object(b'{"a":' + b"9" * MAX_INTEGER_DIGITS + b"}") == {"a": int("9" * MAX_INTEGER_DIGITS)}
    for digits in (MAX_INTEGER_DIGITS + 1, 5000):
        with pytest.raises(StrictJsonError):
            parse_object(b'{"a":' + b"9" * digits + b"}")


def test_depth_is_bounded_exactly() -> None:
    """At the bound accepted, one deeper refused, and a hundred thousand deep no crash."""
    assert parse_object(nested(MAX_DEPTH))["a"] is not None
    for levels in (MAX_DEPTH + 1, 300, 1500, 100_000):
        with pytest.raises(StrictJsonError):
            parse_object(nested(levels))
    with pytest.raises(StrictJsonError):
        parse_object(b"[" * 100_000)
    with pytest.raises(StrictJsonError):
        parse_object(b'{"a":' * 100_000)


def test_many_siblings_are_not_depth() -> None:
    """Openers side by side go the slow way and are accepted."""
    value = {"a": [[i] for i in range(200)]}

    assert parse_object(orjson.dumps(value)) == value


def test_surrogate_pairs_are_characters() -> None:
    """An escaped pair is one character, not two lone surrogates."""
    assert parse_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_their_value(number: float) -> None:
    """A JSON number that is a double stays that double."""
    parsed = parse_object(json.dumps({"a": number}).encode())["a"]

    assert parsed == number or math.isclose(parsed, number, rel_tol=0)
