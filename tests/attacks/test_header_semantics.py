"""Header semantics: what is critical, doubled, encrypted or of another type is not an access token."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from portero.core.jose.jws import sign_compact
from portero.core.tokens.access_token import AccessTokenRules, Fault
from portero.core.tokens.id_token import id_token_claims
from tests.core.jose.minting import AUDIENCE, CLAIMS, ISSUER, NOW, fault_of, header, mint, private_key, segment


@pytest.mark.attack(row=29)
@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["x"], "x": 1},
        {"crit": ["x"]},
        {"crit": []},
        {"crit": "exp"},
        {"crit": None},
        {"crit": {}},
        {"crit": ["alg"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": [1]},
    ],
)
def test_crit_is_refused_whatever_it_holds(members: dict[str, Any]) -> None:
    """RFC 7515 §4.1.11: we understand no extension, so none can be critical and accepted."""
    assert fault_of(mint(header(**members))) is Fault.MALFORMED


@pytest.mark.attack(row=30)
@pytest.mark.parametrize("b64", [False, True, None, "false"])
def test_b64_is_refused(b64: object) -> None:
    """RFC 7797: an unencoded payload is read differently by whoever ignores `b64`."""
    assert fault_of(mint(header(b64=b64))) is Fault.MALFORMED
    assert fault_of(mint(header(b64=b64, crit=["b64"]))) is Fault.MALFORMED


@pytest.mark.attack(row=31)
@pytest.mark.parametrize(
    "typ",
    ["JWT", "logout+jwt", "rt+jwt", "dpop+jwt", "secevent+jwt", "oauth-authz-req+jwt", "", ..., "at+jwt+x", "xat+jwt"],
)
def test_a_token_of_another_type_is_no_access_token(typ: Any) -> None:
    """RFC 9068 §4: the claims are all there and the signature is good; only `typ` is another, or absent."""
    assert fault_of(mint(header(typ="at+jwt"))) is None

    assert fault_of(mint(header(typ=typ))) is Fault.TYPE


@pytest.mark.attack(row=31)
@pytest.mark.parametrize("typ", [5, None, ["at+jwt"], {"at+jwt": 1}, True])
def test_a_typ_that_is_no_text_is_malformed(typ: object) -> None:
    """A list that contains the right word is not the right word."""
    assert fault_of(mint(header(typ=typ))) is Fault.MALFORMED


@pytest.mark.attack(row=31)
def test_our_own_id_token_is_no_access_token() -> None:
    """Even where `typ: JWT` is accepted for a foreign issuer: the audience and the required claims still differ."""
    claims = id_token_claims(issuer=ISSUER, subject="ana", client_id="shop", iat=NOW, exp=NOW + 300)
    token = sign_compact({"typ": "JWT"}, orjson.dumps(claims), private_key())

    assert fault_of(token) is Fault.TYPE
    assert fault_of(token, rules=AccessTokenRules(ISSUER, AUDIENCE, insecure_accept_typ_jwt=True)) is Fault.AUDIENCE


@pytest.mark.attack(row=32)
def test_a_jwe_is_refused() -> None:
    """CVE-2023-51774: five segments, or an encryption header on three."""
    jwe_header = segment({"alg": "RSA-OAEP", "enc": "A256GCM"})

    assert fault_of(f"{jwe_header}.a.b.c.d") is Fault.MALFORMED
    assert fault_of(f"{segment({'alg': 'dir', 'enc': 'A256GCM'})}..b.c.d") is Fault.MALFORMED
    assert fault_of(mint(header(enc="A256GCM"))) is Fault.MALFORMED


@pytest.mark.attack(row=33)
@pytest.mark.parametrize(
    "template",
    [
        b'{"alg":"none","alg":"ES256","kid":"%b","typ":"at+jwt"}',
        b'{"alg":"ES256","kid":"x","kid":"%b","typ":"at+jwt"}',
        b'{"alg":"ES256","kid":"%b","typ":"JWT","typ":"at+jwt"}',
        b'{"alg":"ES256","kid":"%b","\\u0074yp":"JWT","typ":"at+jwt"}',
        b'{"alg":"ES256","kid":"%b","typ":"at+jwt","x":{"y":1,"y":2}}',
    ],
)
def test_a_header_member_twice_is_refused(template: bytes) -> None:
    """RFC 7515 §4: the last one is the good one here, which is what most readers take."""
    kid = private_key().kid.encode()

    assert fault_of(mint(template % kid)) is Fault.MALFORMED


@pytest.mark.attack(row=33)
def test_header_names_are_compared_exactly() -> None:
    """`Alg` is not `alg`, and `ALG` cannot replace it."""
    assert fault_of(mint(header(Alg="none", KID="other", Typ="JWT"))) is None
    assert fault_of(mint(header(alg=..., Alg="ES256"))) is Fault.MALFORMED


@pytest.mark.attack(row=41)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_header_in_another_encoding_is_refused(encoding: str) -> None:
    """RFC 7515 §3.1: UTF-8, no byte order mark."""
    data = orjson.dumps(header()).decode().encode(encoding)

    assert fault_of(mint(data)) is Fault.MALFORMED


@pytest.mark.attack(row=25)
def test_standard_base64_is_not_base64url() -> None:
    """A header written with the other alphabet is another text."""
    head = base64.b64encode(orjson.dumps({**header(), "x": "???>>>"})).decode()

    assert "/" in head or "+" in head or head.endswith("=")
    assert fault_of(f"{head}.{segment(CLAIMS)}.AAAA") is Fault.MALFORMED
