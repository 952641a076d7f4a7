"""What a client needs of the authorization server's metadata (RFC 8414, OpenID Connect Discovery 1.0, RFC 8628 §4)."""

from __future__ import annotations

from dataclasses import dataclass

from portero.adapters.fetch.requests import Fetched, FetchRequest, ForbiddenUrl, checked_url, is_loopback
from portero.client.errors import DiscoveryFailed
from portero.client.protocol.token import json_object


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The endpoints; None where the server has none."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    authorization_challenge_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False


def discovery_request(issuer: str) -> FetchRequest:
    """OpenID Connect Discovery 1.0 §4.1."""
    return FetchRequest(f"{issuer.rstrip('/')}/.well-known/openid-configuration")


def process_discovery_response(answer: Fetched, *, expected_issuer: str) -> ServerMetadata:
    """Validate the document against the issuer it was asked from (RFC 8414 §3.3: identical, character by character).

    Does not check: that the endpoints lie on the issuer's origin; they need not.

    Raises:
        DiscoveryFailed: it is missing, another issuer's, or names an endpoint that is not to be fetched.
    """
    if answer.status != 200:
        raise DiscoveryFailed(f"HTTP {answer.status}")
    document = json_object(answer.body)
    if document.get("issuer") != expected_issuer:
        raise DiscoveryFailed("another issuer, or no metadata")

    def endpoint(name: str) -> str | None:
        url = document.get(name)
        if url is None:
            return None
        try:
            return checked_url(str(url), expected_same_machine=is_loopback(expected_issuer))
        except ForbiddenUrl as error:
            raise DiscoveryFailed(f"{name}: {error}") from None

    authorization, token = endpoint("authorization_endpoint"), endpoint("token_endpoint")
    if authorization is None or token is None:
        raise DiscoveryFailed("no authorization_endpoint or no token_endpoint")
    return ServerMetadata(
        issuer=expected_issuer,
        authorization_endpoint=authorization,
        token_endpoint=token,
        revocation_endpoint=endpoint("revocation_endpoint"),
        userinfo_endpoint=endpoint("userinfo_endpoint"),
        device_authorization_endpoint=endpoint("device_authorization_endpoint"),
        authorization_challenge_endpoint=endpoint("authorization_challenge_endpoint"),
        authorization_response_iss_parameter_supported=bool(
            document.get("authorization_response_iss_parameter_supported")
        ),
    )
