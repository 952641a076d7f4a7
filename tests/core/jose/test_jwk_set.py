"""A set of keys is as good as its good keys."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from portero.core.jose.jwk import render_public_jwk
from portero.core.jose.jwk_set import (
    MAX_SET_BYTES,
    MAX_SET_KEYS,
    JwkSetError,
    jwk_set_of,
    parse_jwk_set,
    read_jwk_set,
    render_jwk_set,
)
from tests.core.jose.minting import private_key


def jwk(alg: str = "ES256", name: str = "one", /, **changes: Any) -> dict[str, Any]:
    return {**render_public_jwk(private_key(alg, name).public), **changes}


def document(*jwks: object) -> bytes:
    return orjson.dumps({"keys": list(jwks)})


def test_what_is_rendered_parses() -> None:
    """RFC 7517 §5."""
    keys = [private_key("ES256").public, private_key("RS256").public, private_key("Ed25519").public]

    parsed = parse_jwk_set(render_jwk_set(keys))

    assert [key.thumbprint for key in parsed.keys] == [key.thumbprint for key in keys]
    for key in keys:
        found = parsed.find(key.kid, key.alg)
        assert found is not None
        assert found.thumbprint == key.thumbprint
    assert {kid for kid, _ in parsed.names()} == {None, *(key.kid for key in keys)}


def test_a_key_is_found_by_kid_and_alg_only() -> None:
    """The right `kid` under another algorithm is no key."""
    keys = parse_jwk_set(document(jwk("ES256"), jwk("RS256", kid="r")))

    assert keys.find("r", "RS256") is not None
    assert keys.find("r", "ES256") is None
    assert keys.find("r", "HS256") is None
    assert keys.find("../../dev/null", "ES256") is None


def test_one_bad_key_does_not_void_the_set() -> None:
    """Unknown key types and algorithms are skipped (RFC 7517 §5), and named for the log."""
    keys = parse_jwk_set(
        document(jwk(), {"kty": "XYZ", "kid": "x"}, 7, jwk("RS256", use="enc"), jwk("RS256", n="AQAB", kid="w"))
    )

    assert [key.alg for key in keys.keys] == ["ES256"]
    assert [refused.kid for refused in keys.refused] == ["x", "", private_key("RS256").kid, "w"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M"}]}',
        b'{"keys":[],"keys":[]}',
    ],
)
def test_a_set_without_a_usable_key_is_an_error(data: bytes) -> None:
    """So that it never replaces a good one."""
    with pytest.raises(JwkSetError):
        parse_jwk_set(data)


def test_a_set_can_be_read_key_by_key() -> None:
    """Between two of them an event loop does what else there is."""
    steps = read_jwk_set(document(jwk(kid="a"), "no key", jwk("RS256", kid="b")))

    assert [next(steps) for _ in range(3)] == [None] * 3
    with pytest.raises(StopIteration) as ended:
        next(steps)
    assert [key.kid for key in ended.value.value.keys] == ["a", "b"]
    assert [key.reason for key in ended.value.value.refused] == ["no object"]


def test_the_set_is_bounded() -> None:
    """At the limit accepted, one byte or key more refused."""
    data = document(jwk())
    fitting = data + b" " * (MAX_SET_BYTES - len(data))

    assert parse_jwk_set(fitting).keys
    with pytest.raises(JwkSetError, match="larger"):
        parse_jwk_set(fitting + b" ")
    assert parse_jwk_set(document(jwk(), *[{}] * (MAX_SET_KEYS - 1))).keys
    with pytest.raises(JwkSetError, match="more than"):
        parse_jwk_set(document(jwk(), *[{}] * MAX_SET_KEYS))


def test_two_different_keys_under_one_name_are_neither_used() -> None:
    """The order of a list must not decide which signature counts."""
    first, second, third = jwk(kid="k"), jwk("ES256", "two", kid="k"), jwk("ES256", "three", kid="other")

    keys = parse_jwk_set(document(first, second, third))

    assert keys.find("k", "ES256") is None
    assert keys.find("other", "ES256") is not None
    assert keys.find(None, "ES256") is None
    assert [refused.kid for refused in keys.refused] == ["k"]
    with pytest.raises(JwkSetError):
        parse_jwk_set(document(first, second))


def test_the_same_key_twice_is_one_key() -> None:
    """A harmless repetition."""
    assert parse_jwk_set(document(jwk(), jwk())).find(private_key().kid, "ES256") is not None


def test_one_kid_for_keys_of_different_algorithms_is_fine() -> None:
    """RFC 7517 §4.5: equivalent keys of different types may share a `kid`."""
    keys = parse_jwk_set(document(jwk("ES256", kid="k"), jwk("RS256", kid="k")))

    assert keys.find("k", "ES256") is not None
    assert keys.find("k", "RS256") is not None


def test_a_token_without_kid_finds_the_only_key_of_its_algorithm() -> None:
    """OpenID Connect Core §10.1: with several, the `kid` is required."""
    assert parse_jwk_set(document(jwk("ES256"), jwk("RS256"))).find(None, "ES256") is not None
    assert parse_jwk_set(document(jwk("ES256"), jwk("ES256", "two"))).find(None, "ES256") is None


def test_a_set_of_nothing_cannot_be_made() -> None:
    """A verifier without keys fails when it is built."""
    with pytest.raises(JwkSetError):
        jwk_set_of([])
