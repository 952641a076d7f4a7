"""What an issuer says of itself: authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0).

A conversation (`adapters.fetch.requests`): at most two fetches. The document counts only
when its `issuer` is exactly the one asked about (RFC 8414 §3.3), so that one tenant cannot
speak for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from portero.adapters.fetch.requests import Conversation, Fetched, FetchRequest, checked_url, is_loopback
from portero.core.errors import Unavailable
from portero.core.types import Issuer


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """The endpoints a resource server needs, each of them fit to be fetched."""

    issuer: Issuer
    jwks_uri: str
    token_endpoint: str | None


def discover(issuer: Issuer) -> Conversation[IssuerMetadata]:
    """Ask an issuer for its metadata: RFC 8414 §3.1 first, then OpenID Connect Discovery §4.1.

    Raises:
        Unavailable: no document, or one that is not this issuer's.
    """
    parts = urlsplit(checked_url(issuer))
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    # RFC 8414 puts the well-known segment before the issuer's path, OpenID after it.
    answer = yield FetchRequest(f"{origin}/.well-known/oauth-authorization-server{path}")
    if answer.status != 200:
        answer = yield FetchRequest(f"{origin}{path}/.well-known/openid-configuration")
    document = _document(answer, about=issuer)
    if document.get("issuer") != issuer:
        raise Unavailable(f"the metadata at {issuer} names another issuer")
    jwks_uri = _endpoint(document, "jwks_uri", issuer=issuer)
    if jwks_uri is None:
        raise Unavailable(f"the metadata of {issuer} names no jwks_uri")
    return IssuerMetadata(issuer, jwks_uri, _endpoint(document, "token_endpoint", issuer=issuer))


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The endpoints a relying party needs (OpenID Connect Discovery §3)."""

    issuer: Issuer
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    announces_iss: bool
    """Its authorization answers carry `iss` (RFC 9207 §3)."""


def discover_provider(issuer: Issuer) -> Conversation[ProviderMetadata]:
    """Ask an OpenID provider for its metadata (OpenID Connect Discovery §4).

    Raises:
        Unavailable: no document, one that is not this issuer's, or one without what a code flow needs.
    """
    answer = yield FetchRequest(f"{checked_url(issuer).rstrip('/')}/.well-known/openid-configuration")
    document = _document(answer, about=issuer)
    if document.get("issuer") != issuer:
        raise Unavailable(f"the metadata at {issuer} names another issuer")
    endpoints = {
        name: _endpoint(document, name, issuer=issuer)
        for name in (
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
            "end_session_endpoint",
        )
    }
    authorization, token, jwks_uri = (endpoints[n] for n in ("authorization_endpoint", "token_endpoint", "jwks_uri"))
    if authorization is None or token is None or jwks_uri is None:
        raise Unavailable(f"the metadata of {issuer} lacks authorization_endpoint, token_endpoint or jwks_uri")
    return ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=authorization,
        token_endpoint=token,
        jwks_uri=jwks_uri,
        userinfo_endpoint=endpoints["userinfo_endpoint"],
        end_session_endpoint=endpoints["end_session_endpoint"],
        announces_iss=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _document(answer: Fetched, *, about: Issuer) -> dict[str, Any]:
    if answer.status != 200:
        raise Unavailable(f"{about} answers {answer.status} to discovery")
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"the metadata of {about} is not JSON") from error
    if not isinstance(document, dict):
        raise Unavailable(f"the metadata of {about} is no JSON object")
    return document


def _endpoint(document: Mapping[str, Any], name: str, *, issuer: Issuer) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    if not isinstance(url, str):
        raise Unavailable(f"{name} of {issuer} is no URL")
    return checked_url(url, expected_same_machine=is_loopback(issuer))
