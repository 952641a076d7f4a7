"""Denial of service: size before decoding, depth and digits before arithmetic, and no JWE at all."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from portero.core.jose import base64url, jws, strict_json
from portero.core.jose.jws import MAX_TOKEN_LENGTH
from portero.core.tokens.access_token import Fault, InvalidToken, unverified_header_of, unverified_issuer_of
from tests.core.jose.minting import CLAIMS, fault_of, header, mint, segment


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every decoder refuse to work: what passes without them has been refused before."""

    def decoder(_: object) -> bytes:
        raise AssertionError("something was decoded")

    monkeypatch.setattr(base64url, "decode", decoder)
    monkeypatch.setattr(jws, "parse_object", decoder)
    monkeypatch.setattr(jws, "_remembered_header", decoder)
    monkeypatch.setattr(strict_json, "parse_object", decoder)


@pytest.mark.attack(row=47)
@pytest.mark.usefixtures("no_decoding")
def test_a_huge_token_is_refused_before_anything_is_decoded() -> None:
    """CVE-2025-61920: a header of 500 MB costs one look at its length."""
    big = "A" * MAX_TOKEN_LENGTH

    for token in (f"{big}.A.A", f"A.{big}.A", f"A.A.{big}", "A" * (50 * 1024 * 1024)):
        assert fault_of(token) is Fault.MALFORMED
        for reading in (unverified_header_of, unverified_issuer_of):
            with pytest.raises(InvalidToken):
                reading(token)


@pytest.mark.attack(row=47)
def test_the_limit_is_where_it_says() -> None:
    """A good token of exactly the limit is accepted; the same with a little more is not."""
    longest = None
    for filler in range(5600, 6000):
        token = mint(body={**CLAIMS, "x": "x" * filler})
        if len(token) > MAX_TOKEN_LENGTH:
            break
        longest = token

    assert longest is not None
    assert len(longest) > MAX_TOKEN_LENGTH - 4
    assert fault_of(longest) is None
    assert fault_of(token) is Fault.MALFORMED


@pytest.mark.attack(row=48)
@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize("dots", [3, 4, MAX_TOKEN_LENGTH, MAX_TOKEN_LENGTH + 1, 3_000_000])
def test_many_dots_split_nothing(dots: int) -> None:
    """CVE-2025-30204: they are counted, in bytes already bounded; no list of segments is made."""
    assert fault_of("." * dots) is Fault.MALFORMED


@pytest.mark.attack(row=49)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5900,
        b'{"a":' * 1100,
        b'{"a":' + b"[" * 2900 + b"]" * 2900 + b"}",
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_deep_json_is_refused(body: bytes) -> None:
    """CVE-2025-53864: as header and as claims, closed or not."""
    assert fault_of(mint(body=body)) is Fault.MALFORMED
    assert fault_of(f"{segment(body)}.{segment(CLAIMS)}.AAAA") is Fault.MALFORMED


@pytest.mark.attack(row=49)
def test_depth_does_not_depend_on_how_deep_the_caller_is() -> None:
    """Near the end of the stack a deep text is still a refusal, never a crash of the caller's frame."""

    def at_depth(frames: int) -> Fault | None:
        return at_depth(frames - 1) if frames else fault_of(mint(body=b'{"a":' * 900 + b"1" + b"}" * 900))

    assert at_depth(sys.getrecursionlimit() // 2) is Fault.MALFORMED


@pytest.mark.attack(row=50)
@pytest.mark.parametrize("digits", [65, 310, 4300, 5000])
@pytest.mark.parametrize("template", [b'{"exp":%b}', b'{"exp":-%b}', b'{"exp":0.%b}', b'{"exp":1e%b}', b'{"x":[%b]}'])
def test_long_numbers_are_refused(digits: int, template: bytes) -> None:
    """Neither converted nor stringified; a long fraction may be a number, but none that is a date."""
    assert fault_of(mint(body=template % (b"9" * digits))) in (Fault.MALFORMED, Fault.ISSUER)
    if b"0." not in template:
        assert fault_of(mint(body=template % (b"9" * digits))) is Fault.MALFORMED


@pytest.mark.attack(row=51)
@pytest.mark.attack(row=52)
@pytest.mark.attack(row=53)
@pytest.mark.parametrize(
    "members",
    [
        {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_000_000_000, "p2s": "AAAA"},
        {"alg": "dir", "enc": "A128GCM", "zip": "DEF"},
        {"alg": "ECDH-ES", "enc": "A128GCM", "epk": {}},
        {"alg": "RSA1_5", "enc": "A128CBC-HS256"},
    ],
)
def test_there_is_no_jwe_to_attack(members: dict[str, Any]) -> None:
    """Five segments are refused by their number, three by their header: nothing is derived, inflated or decrypted."""
    head = segment(members)

    assert fault_of(f"{head}.AAAA.AAAA.AAAA.AAAA") is Fault.MALFORMED
    assert fault_of(f"{head}..AAAA.AAAA.AAAA") is Fault.MALFORMED
    assert fault_of(f"{head}.AAAA.AAAA") is Fault.MALFORMED
    assert fault_of(mint(header(**members))) is Fault.MALFORMED
