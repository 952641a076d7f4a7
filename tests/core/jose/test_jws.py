"""JWS compact: what is signed verifies, and each step refuses for its own reason."""

from __future__ import annotations

from typing import Any

import pytest

from portero.core.jose.jwk import PublicKey
from portero.core.jose.jws import (
    INSECURE_ANY_TYP,
    MAX_TOKEN_LENGTH,
    JwsError,
    JwsFault,
    VerifiedJws,
    sign_compact,
    unverified_header,
    unverified_payload,
    verify_compact,
)
from tests.core.jose.minting import finding, header, mint, private_key

PAYLOAD = b'{"iss":"me"}'


def verify(token: str, **changes: Any) -> VerifiedJws:
    arguments: dict[str, Any] = {
        "find_key": finding(private_key(), private_key("RS256"), private_key("Ed25519")),
        "algorithms": {"ES256", "RS256", "Ed25519"},
        "expected_typ": {"at+jwt"},
    }
    return verify_compact(token, **{**arguments, **changes})


def fault(token: str, **changes: Any) -> JwsFault:
    with pytest.raises(JwsError) as refused:
        verify(token, **changes)
    return refused.value.fault


@pytest.mark.parametrize("alg", ["ES256", "RS256", "Ed25519"])
def test_what_is_signed_verifies(alg: str) -> None:
    """RFC 7515 §5.1, §5.2."""
    key = private_key(alg)

    jws = verify(sign_compact({"typ": "at+jwt"}, PAYLOAD, key))

    assert (jws.payload, jws.header.alg, jws.header.kid, jws.header.typ) == (PAYLOAD, alg, key.kid, "at+jwt")
    assert jws.key is key.public


def test_the_header_is_the_keys() -> None:
    """A caller cannot sign under a name that is not the key's, nor with an extension."""
    for wrong in ({"alg": "RS256"}, {"kid": "another"}, {"crit": ["exp"]}, {"b64": False}):
        with pytest.raises(ValueError, match=r"key's|supported"):
            sign_compact(wrong, PAYLOAD, private_key())


@pytest.mark.parametrize(
    ("typ", "accepted"),
    [
        ("at+jwt", True),
        ("AT+JWT", True),
        ("application/at+jwt", True),
        ("Application/At+Jwt", True),
        ("JWT", False),
        ("at+jwt ", False),
        ("logout+jwt", False),
        ("text/at+jwt", False),
        ("application/at+jwt/x", False),
        ("", False),
        (..., False),
    ],
)
def test_typ_is_a_media_type(typ: Any, accepted: bool) -> None:
    """RFC 7515 §4.1.9: without regard to case, `application/` may be left out; nothing else is the same."""
    token = mint(header(typ=typ), PAYLOAD)

    if accepted:
        assert verify(token).header.typ == "at+jwt"
    else:
        assert fault(token) is JwsFault.TYPE
    assert verify(token, expected_typ=INSECURE_ANY_TYP).payload == PAYLOAD


def test_typ_is_refused_before_the_key_is_looked_up() -> None:
    """The order of the checks: a token of another type asks nobody for a key."""

    def nobody(kid: str | None, alg: str) -> PublicKey | None:
        raise AssertionError("a key was looked up")

    assert fault(mint(header(typ="JWT"), PAYLOAD), find_key=nobody) is JwsFault.TYPE
    assert fault(mint(header(alg="HS256"), PAYLOAD), find_key=nobody) is JwsFault.ALGORITHM


def test_an_algorithm_not_configured_is_refused() -> None:
    """RFC 8725 §3.1."""
    token = sign_compact({"typ": "at+jwt"}, PAYLOAD, private_key("RS256"))

    assert fault(token, algorithms={"ES256"}) is JwsFault.ALGORITHM
    assert fault(token, algorithms=set()) is JwsFault.ALGORITHM


def test_eddsa_is_understood_only_by_name() -> None:
    """RFC 9864: the old name means Ed25519, where somebody asked for it."""
    key = private_key("Ed25519")
    token = mint(header(key, alg="EdDSA"), PAYLOAD, key)

    assert fault(token) is JwsFault.ALGORITHM
    assert verify(token, algorithms={"EdDSA"}).key.alg == "Ed25519"


def test_length_is_bounded_before_decoding() -> None:
    """At the limit it is read, one character more it is not."""
    token = mint(header(), b" " * 5900)
    padded = token.split(".")[2]

    assert len(token) < MAX_TOKEN_LENGTH
    assert verify(token, max_length=len(token)).payload
    with pytest.raises(JwsError, match="longer than"):
        verify(token, max_length=len(token) - 1)
    with pytest.raises(JwsError, match="longer than"):
        verify("!" * (MAX_TOKEN_LENGTH + 1))
    with pytest.raises(JwsError, match="three segments"):
        verify("!" * MAX_TOKEN_LENGTH)
    assert padded


def test_a_changed_signature_or_payload_does_not_verify() -> None:
    """Each segment's every character counts."""
    token = mint(header(), PAYLOAD)
    head, body, signature = token.split(".")
    other_head, other_body, _ = mint(header(extra=1), b'{"iss":"you"}').split(".")

    assert fault(f"{other_head}.{body}.{signature}") is JwsFault.SIGNATURE
    assert fault(f"{head}.{other_body}.{signature}") is JwsFault.SIGNATURE
    for position in range(0, len(signature) - 1, 9):
        changed = signature[:position] + ("A" if signature[position] != "A" else "B") + signature[position + 1 :]
        assert fault(f"{head}.{body}.{changed}") is JwsFault.SIGNATURE


def test_the_unverified_parts_can_be_read() -> None:
    """To choose which key to try, and nothing else."""
    token = mint(header(extra=[1]), PAYLOAD)

    assert unverified_header(token).kid == private_key().kid
    assert unverified_header(token).members["extra"] == [1]
    assert unverified_payload(token) == PAYLOAD
    with pytest.raises(JwsError):
        unverified_payload("e30.e30")


def test_a_refused_header_is_refused_again() -> None:
    """Remembering headers never turns a refusal into an acceptance."""
    token = mint(header(crit=["x"]), PAYLOAD)

    assert [fault(token), fault(token)] == [JwsFault.MALFORMED, JwsFault.MALFORMED]
