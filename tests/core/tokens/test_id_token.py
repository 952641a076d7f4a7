"""An ID token is for one client, one sign-in and one nonce."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from portero.core.jose.jws import sign_compact
from portero.core.tokens.id_token import (
    IdTokenHint,
    InvalidIdToken,
    VerifiedIdToken,
    at_hash_of,
    id_token_claims,
    verify_id_token,
    verify_id_token_hint,
)
from tests.core.jose.minting import ISSUER, NOW, fault_of, finding, private_key

CLAIMS = id_token_claims(
    issuer=ISSUER,
    subject="ana",
    client_id="shop",
    iat=NOW,
    exp=NOW + 300,
    auth_time=NOW - 10,
    nonce="n-1",
    acr="pwd",
    amr=["pwd"],
    sid="s-1",
    at_hash=at_hash_of("access", alg="ES256"),
    claims={"name": "Ana"},
)


def token(typ: str = "JWT", **changes: Any) -> str:
    body = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return sign_compact({"typ": typ}, orjson.dumps(body), private_key())


def verify(text: str, **changes: Any) -> VerifiedIdToken:
    arguments: dict[str, Any] = {
        "issuer": ISSUER,
        "client_id": "shop",
        "expected_nonce": "n-1",
        "find_key": finding(private_key()),
        "now": NOW,
    }
    return verify_id_token(text, **{**arguments, **changes})


def test_what_is_issued_is_what_is_verified() -> None:
    """OpenID Connect Core §2."""
    verified = verify(token(), access_token="access", max_age=10)

    assert (verified.subject, verified.sid, verified.audience) == ("ana", "s-1", ("shop",))
    assert (verified.auth_time, verified.acr, verified.amr) == (NOW - 10, "pwd", ("pwd",))
    assert verified.claims["name"] == "Ana"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"iss": "https://issuer.example/"}, "issuer"),
        ({"aud": "other"}, "client"),
        ({"aud": []}, "aud"),
        ({"aud": [5]}, "aud"),
        ({"aud": ["shop", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"sub": ...}, "sub"),
        ({"exp": ...}, "exp"),
        ({"exp": True}, "exp"),
        ({"iat": ...}, "iat"),
        ({"iat": NOW + 61}, "future"),
        ({"nonce": "n-2"}, "nonce"),
        ({"nonce": ...}, "nonce"),
        ({"nonce": 5}, "nonce"),
        ({"amr": "pwd"}, "amr"),
        ({"sid": 5}, "sid"),
        ({"at_hash": "other"}, "at_hash"),
        ({"auth_time": ...}, "max_age"),
        ({"auth_time": NOW - 3661}, "max_age"),
    ],
)
def test_each_check_refuses_alone(changes: dict[str, Any], text: str) -> None:
    """OpenID Connect Core §3.1.3.7, one thing changed at a time."""
    with pytest.raises(InvalidIdToken, match=text):
        verify(token(**changes), access_token="access", max_age=3600)


def test_several_audiences_need_this_client_as_authorized_party() -> None:
    """OpenID Connect Core §3.1.3.7 steps 4 and 5."""
    assert verify(token(aud=["shop", "other"], azp="shop")).subject == "ana"


def test_exp_ends_at_its_edge() -> None:
    """Just before, accepted; at `exp` and the leeway, refused."""
    assert verify(token(), now=NOW + 360 - 0.001).exp == NOW + 300
    with pytest.raises(InvalidIdToken, match="expired"):
        verify(token(), now=NOW + 360)


def test_an_access_token_is_no_id_token_and_the_other_way_round() -> None:
    """RFC 8725 §3.11: `typ` keeps them apart."""
    with pytest.raises(InvalidIdToken, match="type"):
        verify(token(typ="at+jwt"))
    assert fault_of(token()) is not None


def test_the_hint_may_have_expired() -> None:
    """OpenID Connect RP-Initiated Logout §2: a hint names a sign-in; its age does not matter."""
    arguments: dict[str, Any] = {"issuer": ISSUER, "find_key": finding(private_key()), "algorithms": ("ES256",)}
    old = token(exp=5, iat=1)

    assert verify_id_token_hint(old, client_id="shop", **arguments) == IdTokenHint("ana", "s-1", ("shop",))
    assert verify_id_token_hint(old, client_id=None, **arguments).audience == ("shop",)
    with pytest.raises(InvalidIdToken, match="client"):
        verify_id_token_hint(old, client_id="other", **arguments)
    with pytest.raises(InvalidIdToken, match="key"):
        verify_id_token_hint(old, client_id="shop", **{**arguments, "find_key": finding(private_key("ES256", "two"))})
    with pytest.raises(InvalidIdToken, match="issuer"):
        verify_id_token_hint(old, client_id="shop", **{**arguments, "issuer": "https://other.example"})
    with pytest.raises(InvalidIdToken, match="type"):
        verify_id_token_hint(token(typ="at+jwt"), client_id="shop", **arguments)


def test_at_hash_is_the_left_half() -> None:
    """OpenID Connect Core §3.1.3.6 and its appendix A.3's token and hash."""
    access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"

    assert at_hash_of(access_token, alg="RS256") == "77QmUPtjPfzWtF2AnpK9RQ"
    assert at_hash_of(access_token, alg="ES256") == "77QmUPtjPfzWtF2AnpK9RQ"
    assert len(at_hash_of(access_token, alg="Ed25519")) == 43


def test_claims_about_the_person_do_not_replace_the_protocols() -> None:
    """`claims` is filled from records a person can edit."""
    for name in ("iss", "sub", "aud", "exp", "nonce", "sid"):
        with pytest.raises(ValueError, match="protocol"):
            id_token_claims(issuer=ISSUER, subject="a", client_id="c", iat=NOW, exp=NOW + 1, claims={name: "x"})
    with pytest.raises(ValueError, match="exp"):
        id_token_claims(issuer=ISSUER, subject="a", client_id="c", iat=NOW, exp=NOW)
