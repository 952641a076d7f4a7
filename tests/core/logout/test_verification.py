"""The logout token, as the client verifies it: each check is the reason of a refusal (Back-Channel Logout 1.0 §2.6)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from portero.core.errors import RequestError
from portero.core.jose.jws import sign_compact
from portero.core.logout.logout_token import EVENT, TYP
from portero.core.logout.verification import LoggedOut, verify_logout_token
from portero.testing.tokens import new_key

KEY = new_key("ES256", kid="one")
NOW = 1_800_000_000
CLAIMS: dict[str, Any] = {
    "iss": "https://login.example",
    "aud": "shop",
    "iat": NOW,
    "exp": NOW + 120,
    "jti": "jti",
    "sub": "ana",
    "sid": "sid",
    "events": {EVENT: {}},
}


def verified(claims: dict[str, Any], *, typ: str = TYP, now: float = NOW) -> LoggedOut:
    token = sign_compact({"typ": typ}, orjson.dumps(claims), KEY)
    return verify_logout_token(
        token,
        issuer="https://login.example",
        client_id="shop",
        find_key=lambda kid, _alg: KEY.public if kid == "one" else None,
        now=now,
    )


def test_a_good_one_names_the_session() -> None:
    """Session and person; either may be alone."""
    assert verified(CLAIMS) == LoggedOut("ana", "sid")
    assert verified({name: CLAIMS[name] for name in CLAIMS if name != "sub"}) == LoggedOut(None, "sid")
    assert verified({name: CLAIMS[name] for name in CLAIMS if name != "sid"}) == LoggedOut("ana", None)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"aud": []},
        {"events": {}},
        {"events": {EVENT: "yes"}},
        {"events": None},
        {"nonce": "n"},
        {"jti": None},
        {"sub": None, "sid": None},
        {"sub": 7},
        {"sid": ""},
        {"iat": None},
        {"exp": True, "iat": True},
        {"exp": NOW - 61},
        {"iat": NOW + 61},
        {"iat": NOW - 3700},
    ],
)
def test_each_check_refuses(change: dict[str, Any]) -> None:
    """Only that one thing is different."""
    with pytest.raises(RequestError) as refused:
        verified({**CLAIMS, **change})

    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "secevent+jwt"])
def test_another_kind_of_token_is_refused(typ: str) -> None:
    """An ID token that somebody got hold of ends nobody's session."""
    with pytest.raises(RequestError):
        verified(CLAIMS, typ=typ)


def test_a_strangers_signature_is_refused() -> None:
    """Signed with a key that is not the server's."""
    token = sign_compact({"typ": TYP}, orjson.dumps(CLAIMS), new_key("ES256", kid="one"))
    with pytest.raises(RequestError):
        verify_logout_token(
            token, issuer="https://login.example", client_id="shop", find_key=lambda _kid, _alg: KEY.public, now=NOW
        )
