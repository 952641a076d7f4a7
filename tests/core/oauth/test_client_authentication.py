"""Client authentication: exactly one method, the registered one, and one text for every failure."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.jose.jwk import render_public_jwk
from portero.core.jose.jwk_set import render_jwk_set
from portero.core.jose.jws import sign_compact
from portero.core.oauth.client_authentication import (
    ASSERTION_TYPE,
    MAX_ASSERTION_LIFE,
    AuthenticatedClient,
    AuthenticationMethod,
    authenticate_client,
    parse_credentials,
)
from portero.core.oauth.forms import Parameters
from portero.core.transitions import Client, ClientType, RefreshProfile, RotationPolicy
from portero.core.types import ClientId, Issuer, NumericDate, Secret

ISSUER = Issuer("https://as.example")
NOW = NumericDate(1_800_000_000)
LEEWAY = 60
KEY = generate_private_key("ES256")
OTHER_KEY = generate_private_key("ES256")
PUBLIC = Client(
    client_id=ClientId("c"),
    client_name="C",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=(),
    post_logout_redirect_uris=(),
    grant_types=(),
    scope=(),
    audiences=(),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
WITH_SECRET = replace(
    PUBLIC,
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=sha256_of(Secret("s3cret")),
)
WITH_KEY = replace(
    PUBLIC,
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="private_key_jwt",
    jwks=render_jwk_set([KEY.public]).decode(),
)


def form(**values: str) -> Parameters:
    return Parameters({name: (value,) for name, value in values.items()})


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def authenticate(
    client: Client | None, *, authorization: str | None = None, now: int = NOW, **values: str
) -> AuthenticatedClient:
    presented = parse_credentials(form(**values), authorization=authorization)
    return authenticate_client(presented, client, issuer=ISSUER, now=NumericDate(now), leeway=LEEWAY)


def signed(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> dict[str, str]:
    claims = {"iss": "c", "sub": "c", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j", **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    token = sign_compact(header or {}, orjson.dumps(kept), key)
    return {"client_assertion": token, "client_assertion_type": ASSERTION_TYPE}


def refused(client: Client | None, **arguments: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        authenticate(client, **arguments)
    return caught.value


# ── which method ─────────────────────────────────────────────────────────────────────


def test_a_public_client_names_itself() -> None:
    """RFC 6749 §3.2.1: nothing is proven."""
    authenticated = authenticate(PUBLIC, client_id="c")

    assert (authenticated.method, authenticated.is_proven) == (AuthenticationMethod.NONE, False)


@pytest.mark.parametrize(
    "arguments",
    [
        {"authorization": basic("c:s3cret"), "client_secret": "s3cret"},
        {"authorization": basic("c:s3cret"), **signed()},
        {"client_id": "c", "client_secret": "s3cret", **signed()},
        {"authorization": basic("c:s3cret"), "client_id": "d"},
        {"client_id": "d", **signed()},
        {"client_assertion_type": ASSERTION_TYPE},
        {"client_assertion": "x"},
        {"client_assertion": "x", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
    ],
)
def test_two_methods_or_contradictions_are_invalid_request(arguments: dict[str, str]) -> None:
    """RFC 6749 §2.3: "MUST NOT use more than one authentication method in each request"."""
    assert refused(WITH_SECRET, **arguments).error == "invalid_request"


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"no colon").decode(),
        basic(":s3cret"),
        basic("%zz:s3cret"),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Bearer x",
        basic("c:wrong"),
        basic("c:"),
        basic("c:s3cret "),
        basic("c:s3cret") + "=",
    ],
)
def test_bad_basic_credentials_are_401(authorization: str) -> None:
    """RFC 6749 §5.2."""
    error = refused(WITH_SECRET, authorization=authorization)

    assert (error.error, error.status) == ("invalid_client", 401)


def test_every_failure_has_one_text() -> None:
    """Unknown, disabled, wrong secret, wrong method: equal on the wire, told apart in the log."""
    right, wrong = basic("c:s3cret"), basic("c:wrong")
    errors = [
        refused(None, authorization=right),
        refused(replace(WITH_SECRET, enabled=False), authorization=right),
        refused(WITH_SECRET, authorization=wrong),
        refused(replace(WITH_SECRET, token_endpoint_auth_method="client_secret_post"), authorization=right),
        refused(replace(WITH_SECRET, secret_digest=None), authorization=right),
    ]

    assert len({(error.error, error.description, error.status) for error in errors}) == 1
    assert len({error.detail for error in errors}) == 4


def test_a_client_with_a_credential_is_not_let_in_without_it() -> None:
    """The registered method, and no weaker one."""
    assert refused(WITH_SECRET, client_id="c").error == "invalid_client"
    assert refused(WITH_KEY, client_id="c").error == "invalid_client"
    assert refused(PUBLIC, authorization=basic("c:s3cret")).error == "invalid_client"


# ── private_key_jwt ──────────────────────────────────────────────────────────────────


def test_an_assertion_proves_the_client_and_has_to_be_spent() -> None:
    """RFC 7523 §3; the mark outlives the assertion."""
    authenticated = authenticate(WITH_KEY, **signed())

    assert authenticated.is_proven
    assert authenticated.replay is not None
    assert authenticated.replay.expires > NOW + 60 + LEEWAY


def test_one_jti_of_two_clients_is_two_values() -> None:
    """A client cannot spend another's assertions ahead of it."""
    other = replace(WITH_KEY, client_id=ClientId("d"))
    mine, theirs = authenticate(WITH_KEY, **signed()), authenticate(other, **signed(iss="d", sub="d"))

    assert mine.replay is not None
    assert theirs.replay is not None
    assert mine.replay.digest != theirs.replay.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "d"},
        {"iss": None},
        {"aud": "https://as.example/token"},
        {"aud": ["https://as.example", "https://other.example"]},
        {"aud": []},
        {"aud": "https://as.example/"},
        {"aud": None},
        {"exp": None},
        {"exp": "1800000060"},
        {"exp": True},
        {"exp": 1e30},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"jti": 1},
        {"nbf": NOW + LEEWAY + 1},
        {"iat": NOW + LEEWAY + 1},
        {"iat": "x"},
    ],
)
def test_an_assertion_with_another_claim_is_refused(changes: dict[str, Any]) -> None:
    """RFC 7523 §3, items 1 to 7, with the issuer as the sole audience (its revision, and the BCP's update)."""
    error = refused(WITH_KEY, **signed(**changes))

    assert (error.error, error.status) == ("invalid_client", 401)


def test_the_audience_as_a_list_of_one_is_the_same() -> None:
    """RFC 7519 §4.1.3."""
    assert authenticate(WITH_KEY, **signed(aud=[ISSUER])).is_proven


def test_the_token_endpoint_is_an_audience_by_explicit_choice_only() -> None:
    """What an operator has to write down."""
    presented = parse_credentials(form(**signed(aud="https://as.example/token")), authorization=None)
    authenticated = authenticate_client(
        presented,
        WITH_KEY,
        issuer=ISSUER,
        now=NOW,
        leeway=LEEWAY,
        insecure_accepted_audience="https://as.example/token",
    )

    assert authenticated.is_proven


def test_the_time_of_an_assertion_is_bounded_on_both_sides() -> None:
    """Up to exp plus leeway; and not so far ahead that its jti would have to be kept for long."""
    last, ahead = NOW + 59 + LEEWAY, NOW + MAX_ASSERTION_LIFE + LEEWAY
    assert authenticate(WITH_KEY, now=last, **signed(exp=NOW + 60)).is_proven
    assert authenticate(WITH_KEY, **signed(exp=ahead)).is_proven

    assert refused(WITH_KEY, now=NOW + 60 + LEEWAY, **signed(exp=NOW + 60)).error == "invalid_client"
    assert refused(WITH_KEY, **signed(exp=ahead + 1)).error == "invalid_client"


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt"])
def test_another_kind_of_token_is_no_assertion(typ: str) -> None:
    """RFC 8725 §3.11."""
    assert refused(WITH_KEY, **signed({"typ": typ})).error == "invalid_client"


@pytest.mark.attack(row=9)
def test_only_registered_keys_count() -> None:
    """An embedded jwk is data, another key is another client."""
    assert refused(WITH_KEY, **signed(key=OTHER_KEY)).error == "invalid_client"
    embedded = {"jwk": render_public_jwk(OTHER_KEY.public)}
    assert refused(WITH_KEY, **signed(embedded, key=OTHER_KEY)).error == "invalid_client"


@pytest.mark.parametrize("jwks", [None, "", "{}", '{"keys":[]}', "not json"])
def test_a_client_without_usable_keys_is_refused(jwks: str | None) -> None:
    """Absent configuration never means unchecked."""
    assert refused(replace(WITH_KEY, jwks=jwks), **signed()).error == "invalid_client"


@pytest.mark.parametrize("assertion", ["", "x", "a.b.c", "....", "{}", "é.é.é", "A" * 9000])
def test_nonsense_is_invalid_client_or_invalid_request(assertion: str) -> None:
    """Never anything else."""
    values = {"client_assertion_type": ASSERTION_TYPE}
    if assertion:
        values["client_assertion"] = assertion
    assert refused(WITH_KEY, **values).error in {"invalid_client", "invalid_request"}
