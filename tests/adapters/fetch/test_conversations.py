"""Discovery and the service's own token, as conversations: no socket, every answer is the test's."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from portero.adapters.fetch.client_credentials import ServiceToken, obtain_service_token
from portero.adapters.fetch.discovery import IssuerMetadata, discover
from portero.adapters.fetch.requests import Conversation, Fetched, FetchRequest
from portero.core.errors import Unavailable
from portero.core.types import Issuer, Secret

ISSUER = Issuer("https://issuer.test/tenant")
METADATA = {"issuer": ISSUER, "jwks_uri": "https://issuer.test/jwks", "token_endpoint": "https://issuer.test/token"}


def answered(conversation: Conversation[Any], *answers: tuple[int, object]) -> tuple[Any, list[FetchRequest]]:
    """Run a conversation with these answers; return what it learned and what it asked."""
    asked = [next(conversation)]
    try:
        for status, body in answers:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            asked.append(conversation.send(Fetched(status, {}, data)))
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("the conversation wants more answers")


def test_an_issuer_with_a_path_has_its_well_known_segment_between_host_and_path() -> None:
    """RFC 8414 §3.1."""
    metadata, asked = answered(discover(ISSUER), (200, METADATA))

    assert [request.url for request in asked] == ["https://issuer.test/.well-known/oauth-authorization-server/tenant"]
    assert metadata == IssuerMetadata(ISSUER, "https://issuer.test/jwks", "https://issuer.test/token")


def test_an_issuer_that_only_speaks_openid_is_found_too() -> None:
    """OpenID Connect Discovery §4.1 appends it."""
    _, asked = answered(discover(ISSUER), (404, {}), (200, METADATA))

    assert asked[1].url == "https://issuer.test/tenant/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "document",
    [
        {**METADATA, "issuer": "https://issuer.test/tenant/"},
        {**METADATA, "issuer": "https://issuer.test/other"},
        {**METADATA, "issuer": None},
        {"issuer": ISSUER},
        {**METADATA, "jwks_uri": 1},
        {**METADATA, "jwks_uri": "http://issuer.test/jwks"},
        {**METADATA, "jwks_uri": "https://127.0.0.1/jwks"},
        {**METADATA, "token_endpoint": "file:///etc/passwd"},
        [],
        b"<html>",
    ],
)
def test_a_document_that_is_not_this_issuers_counts_for_nothing(document: object) -> None:
    """RFC 8414 §3.3: compared exactly; and no address that is never fetched."""
    with pytest.raises(Unavailable):
        answered(discover(ISSUER), (200, document))


def service_token() -> Conversation[ServiceToken]:
    return obtain_service_token(
        token_endpoint="https://issuer.test/token",
        client_id="a:b",
        client_secret=Secret("s p/%"),
        scope="revocations:read",
        resource="https://issuer.test",
    )


def test_a_service_authenticates_with_encoded_credentials() -> None:
    """RFC 6749 §2.3.1: each part form-encoded before they are joined."""
    token, (request,) = answered(service_token(), (200, {"access_token": "t", "expires_in": 60}))

    assert token.token.reveal() == "t"
    assert token.expires_in == 60.0
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"a%3Ab:s+p%2F%25"
    assert request.form == {
        "grant_type": "client_credentials",
        "scope": "revocations:read",
        "resource": "https://issuer.test",
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": "invalid_client"}),
        (200, {}),
        (200, {"access_token": 1}),
        (200, {"access_token": "t", "expires_in": "soon"}),
        (200, b""),
        (503, b"<html>"),
    ],
)
def test_no_token_means_no_feed(status: int, body: object) -> None:
    """For a caller the feed is not there; the operator reads why."""
    with pytest.raises(Unavailable):
        answered(service_token(), (status, body))


def test_credentials_do_not_print() -> None:
    """Requests end in tracebacks."""
    request = next(service_token())

    assert "Basic" not in repr(request)
    assert "revocations" not in repr(request)
