"""Client metadata as clients state it (RFC 7591 §2), and documents that state it (client id metadata documents)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portero.core.errors import RequestError
from portero.core.oauth.client_authentication import AuthenticationMethod
from portero.core.oauth.client_document import believed_for, client_of_document, is_document_url
from portero.core.oauth.client_metadata import RegistrationTerms, client_of_metadata, metadata_of
from portero.core.transitions import Client, ClientType
from portero.core.types import ClientId, Digest, NumericDate

SECRET = Digest(bytes(32))
TERMS = RegistrationTerms(
    scope=("openid", "profile"),
    audiences=("https://shop.example/orders",),
    methods=tuple(AuthenticationMethod),
    id_token_algorithms=("ES256",),
)
URL = "https://app.example/client.json"
KEY = {
    **{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k"},
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


def registered(**members: Any) -> Client:
    stated = {"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none", **members}
    return client_of_metadata(
        {name: value for name, value in stated.items() if value is not ...},
        client_id=ClientId("c-1"),
        secret_digest=SECRET,
        terms=TERMS,
        now=NumericDate(1),
    )


def test_a_client_gets_what_it_asked_for_and_may_have() -> None:
    """Never first-party, never more scope than the operator lets strangers have, PKCE where it is public."""
    client = registered(
        scope="openid operator", client_name="  An App ", grant_types=["refresh_token", "authorization_code"]
    )

    assert (client.scope, client.audiences) == (("openid",), TERMS.audiences)
    assert (client.client_name, client.first_party, client.require_pkce) == ("An App", False, True)
    assert (client.client_type, client.secret_digest) == (ClientType.PUBLIC, None)
    assert client.allowed_origins == ("https://app.example",)
    assert metadata_of(client)["grant_types"] == ["authorization_code", "refresh_token"]


def test_the_default_method_is_the_first_one_offered() -> None:
    """RFC 7591 §2: `client_secret_basic` where the metadata does not say."""
    terms = RegistrationTerms(TERMS.scope, (), (AuthenticationMethod.CLIENT_SECRET_BASIC,), ("ES256",))
    members = {"redirect_uris": ["https://app.example/cb"]}
    client = client_of_metadata(members, client_id=ClientId("c"), secret_digest=SECRET, terms=terms, now=NumericDate(1))

    assert (client.client_type, client.secret_digest) == (ClientType.CONFIDENTIAL, SECRET)
    assert (client.client_name, client.require_pkce) == ("app.example", False)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"redirect_uris": ...}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://app.example/cb"}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/cb#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://app.example/{n}" for n in range(21)]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": 7}, "invalid_client_metadata"),
        ({"jwks_uri": "https://app.example/jwks"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["refresh_token"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"scope": "operator"}, "invalid_client_metadata"),
        ({"scope": ["openid"]}, "invalid_client_metadata"),
        ({"client_name": "x" * 81}, "invalid_client_metadata"),
        ({"client_name": "a\u202eb"}, "invalid_client_metadata"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
        ({"subject_type": "pairwise"}, "invalid_client_metadata"),
        ({"backchannel_logout_uri": "http://inside.example/"}, "invalid_client_metadata"),
        ({"post_logout_redirect_uris": ["data:text/html,x"]}, "invalid_client_metadata"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused(members: dict[str, Any], error: str) -> None:
    """RFC 7591 §3.2.2: with the error that says which part."""
    with pytest.raises(RequestError) as refused:
        registered(**members)

    assert refused.value.error == error


def test_what_is_not_known_is_ignored() -> None:
    """RFC 7591 §2: "MUST ignore"."""
    assert registered(software_id="x", logo_uri=7, first_party=True) == registered()


@pytest.mark.parametrize(
    ("client_id", "expected"),
    [
        (URL, True),
        ("https://app.example/a/b?c=d", True),
        ("https://app.example:8443/client", True),
        ("https://other.example/client", False),
        ("http://app.example/client.json", False),
        ("https://app.example", False),
        ("https://app.example/", False),
        ("https://app.example/a/../client.json", False),
        ("https://app.example/./client.json", False),
        ("https://app.example/client.json#x", False),
        ("https://user@app.example/client.json", False),
        ("https://app.example\\@evil.example/x", False),
        ("https://app.example/" + "x" * 500, False),
        ("https://app.example:port/x", False),
        ("shop", False),
        ("", False),
    ],
)
def test_which_client_ids_have_a_document(client_id: str, expected: bool) -> None:
    """draft-ietf-oauth-client-id-metadata-document-01 §3; only hosts the operator named."""
    assert is_document_url(client_id, hosts=("app.example",)) is expected


def test_any_host_is_a_choice() -> None:
    """`*`; nobody is one by default, and loopback without TLS is for development."""
    assert is_document_url(URL, hosts=("*",))
    assert not is_document_url(URL, hosts=())
    assert not is_document_url("http://localhost/client", hosts=("*",))
    assert is_document_url("http://localhost/client", hosts=("*",), insecure_loopback=True)


def document(status: int = 200, **changes: Any) -> Client:
    stated = {"client_id": URL, "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}
    methods = (AuthenticationMethod.NONE, AuthenticationMethod.PRIVATE_KEY_JWT)
    terms = RegistrationTerms(TERMS.scope, (), methods, ("ES256",))
    body = json.dumps({**stated, **changes}).encode()
    return client_of_document(ClientId(URL), status=status, body=body, terms=terms, now=NumericDate(1))


def test_a_document_is_its_client() -> None:
    """§4: with keys of its own where it has a method that needs them."""
    with_key = document(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [KEY]})

    assert document().client_id == URL
    assert with_key.client_type is ClientType.CONFIDENTIAL


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 404},
        {"client_id": "https://app.example/other.json"},
        {"client_id": None},
        {"client_secret": "x"},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_post"},
    ],
)
def test_a_document_that_is_not_this_clients_is_refused(changes: dict[str, Any]) -> None:
    """§4.1: it names its own URL; no shared secret can be in what everybody reads."""
    with pytest.raises(RequestError):
        document(**changes)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 3600),
        ("max-age=600", 600),
        ("public, max-age=1", 300),
        ("max-age=99999999", 86400),
        ("no-store", 300),
        ("s-maxage=600", 3600),
    ],
)
def test_a_document_is_believed_within_bounds(header: str | None, seconds: int) -> None:
    """§4.4: as long as it says, but neither asked for at every request nor believed for ever."""
    assert believed_for(header) == seconds
