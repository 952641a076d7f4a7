"""The token endpoint's messages (RFC 6749 §3.2, §4.1.3, §4.4.2, §5, §6; RFC 7636 §4.5; RFC 8707 §2.2).

Beyond the RFCs (design §3.2): the request parameter `refresh_attempt`, and in the answer
`refresh_after`, `refresh_token_expires_in` and `session_expires_in`, all in seconds.

Leaves to the caller: client authentication, and whether the client may use the grant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from portero.core.oauth.errors import (
    invalid_request,
    invalid_scope,
    invalid_target,
    unsupported_grant_type,
)
from portero.core.oauth.forms import Parameters
from portero.core.quick import quick
from portero.core.types import Secret

MAX_TOKEN_LENGTH = 8 * 1024
"""Characters; anything longer is no token, code or verifier of ours."""
MAX_RESOURCES = 10

_ATTEMPT = re.compile(r"[A-Za-z0-9_-]{22}")
_CODE_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+")


class GrantType(Enum):
    """The grants the token endpoint serves."""

    AUTHORIZATION_CODE = "authorization_code"
    REFRESH_TOKEN = "refresh_token"
    CLIENT_CREDENTIALS = "client_credentials"
    TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
    DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


_REFRESH_TOKEN = GrantType.REFRESH_TOKEN.value


class TokenType(Enum):
    """RFC 6750 §6.1.1, RFC 9449 §5."""

    BEARER = "Bearer"
    DPOP = "DPoP"


@dataclass(frozen=True, slots=True)
class CodeExchangeRequest:
    """RFC 6749 §4.1.3 with RFC 7636 §4.5."""

    code: Secret[str]
    redirect_uri: str | None
    code_verifier: Secret[str] | None
    resource: tuple[str, ...]


@quick
@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """RFC 6749 §6 with `refresh_attempt`."""

    refresh_token: Secret[str]
    refresh_attempt: Secret[str] | None
    """22 characters of base64url: 128 bits the client stored before it sent them."""
    scope: tuple[str, ...] | None
    """None: not narrowed."""
    resource: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientCredentialsRequest:
    """RFC 6749 §4.4.2."""

    scope: tuple[str, ...] | None
    """None: all the client may have."""
    resource: tuple[str, ...]


ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
"""RFC 8693 §3: the one kind of token taken and given in an exchange."""


@dataclass(frozen=True, slots=True)
class TokenExchangeRequest:
    """RFC 8693 §2.1. The client itself is the actor; an `actor_token` is not taken."""

    subject_token: Secret[str]
    scope: tuple[str, ...] | None
    """None: all that the subject token and the client have in common."""
    resource: tuple[str, ...]
    """From `resource` and `audience`, which mean the same here."""


@dataclass(frozen=True, slots=True)
class DeviceTokenRequest:
    """RFC 8628 §3.4."""

    device_code: Secret[str]
    resource: tuple[str, ...]


TokenRequest = (
    CodeExchangeRequest | RefreshRequest | ClientCredentialsRequest | TokenExchangeRequest | DeviceTokenRequest
)


def parse_token_request(parameters: Parameters) -> TokenRequest:
    """Parse a token request into the grant it asks for.

    Raises:
        RequestError: `invalid_request`, `unsupported_grant_type`, `invalid_scope`,
            `invalid_target`. Nothing was committed.
    """
    grant_type = parameters.require("grant_type")
    if grant_type == _REFRESH_TOKEN:
        return RefreshRequest(
            refresh_token=_secret(parameters, "refresh_token"),
            refresh_attempt=_refresh_attempt(parameters),
            scope=parse_scope(parameters.get("scope")),
            resource=parse_resource(parameters),
        )
    if grant_type == GrantType.AUTHORIZATION_CODE.value:
        return CodeExchangeRequest(
            code=_secret(parameters, "code"),
            redirect_uri=parameters.get("redirect_uri"),
            code_verifier=_code_verifier(parameters),
            resource=parse_resource(parameters),
        )
    if grant_type == GrantType.CLIENT_CREDENTIALS.value:
        return ClientCredentialsRequest(
            scope=parse_scope(parameters.get("scope")),
            resource=parse_resource(parameters),
        )
    if grant_type == GrantType.TOKEN_EXCHANGE.value:
        return _token_exchange(parameters)
    if grant_type == GrantType.DEVICE_CODE.value:
        return DeviceTokenRequest(_secret(parameters, "device_code"), parse_resource(parameters))
    raise unsupported_grant_type(f"grant_type may be {', '.join(grant.value for grant in GrantType)}")


def _token_exchange(parameters: Parameters) -> TokenExchangeRequest:
    if parameters.require("subject_token_type") != ACCESS_TOKEN_TYPE:
        raise invalid_request(f"subject_token_type may be {ACCESS_TOKEN_TYPE}")
    if parameters.get("requested_token_type") not in {None, ACCESS_TOKEN_TYPE}:
        raise invalid_request(f"requested_token_type may be {ACCESS_TOKEN_TYPE}")
    if parameters.get("actor_token") is not None or parameters.get("actor_token_type") is not None:
        raise invalid_request("the authenticated client is the actor; actor_token is not taken")
    audience = parameters.get("audience")
    resource = parse_resource(parameters)
    return TokenExchangeRequest(
        subject_token=_secret(parameters, "subject_token"),
        scope=parse_scope(parameters.get("scope")),
        resource=resource if audience is None else tuple(dict.fromkeys((*resource, audience))),
    )


def parse_scope(scope: str | None) -> tuple[str, ...] | None:
    """Split a scope (RFC 6749 §3.3): tokens of visible ASCII without quotes and backslash, separated by one space.

    Raises:
        RequestError: `invalid_scope`.
    """
    if scope is None:
        return None
    tokens = tuple(dict.fromkeys(scope.split(" ")))
    if not all(_SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise invalid_scope("scope must be scope tokens separated by single spaces")
    return tokens


def parse_resource(parameters: Parameters) -> tuple[str, ...]:
    """Return the resource indicators (RFC 8707 §2): absolute URIs without fragment.

    Raises:
        RequestError: `invalid_target`.
    """
    resource = parameters.all("resource")
    if len(resource) > MAX_RESOURCES or not all(_RESOURCE.fullmatch(uri) for uri in resource):
        raise invalid_target(f"resource must be absolute URIs without fragment, {MAX_RESOURCES} at most")
    return resource


@quick
@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful answer (RFC 6749 §5.1, OIDC Core §3.1.3.3). Durations are whole seconds from now."""

    access_token: Secret[str]
    token_type: TokenType
    expires_in: int
    scope: tuple[str, ...]
    refresh_token: Secret[str] | None = None
    id_token: Secret[str] | None = None
    refresh_after: int | None = None
    """When a proactive refresh is welcome."""
    refresh_token_expires_in: int | None = None
    session_expires_in: int | None = None
    issued_token_type: str | None = None
    """RFC 8693 §2.2.1; None where nothing was exchanged."""


def render_token_response(response: TokenResponse) -> bytes:
    """Render the JSON body."""
    members: dict[str, Any] = {
        "access_token": response.access_token.reveal(),
        "token_type": response.token_type.value,
        "expires_in": response.expires_in,
        "scope": " ".join(response.scope),
    }
    if response.refresh_token is not None:
        members["refresh_token"] = response.refresh_token.reveal()
    # Also where the presented token is kept and not sent again: it has an end as well.
    if response.refresh_token_expires_in is not None:
        members["refresh_token_expires_in"] = response.refresh_token_expires_in
    if response.refresh_after is not None:
        members["refresh_after"] = response.refresh_after
    if response.session_expires_in is not None:
        members["session_expires_in"] = response.session_expires_in
    if response.issued_token_type is not None:
        members["issued_token_type"] = response.issued_token_type
    if response.id_token is not None:
        members["id_token"] = response.id_token.reveal()
    return orjson.dumps(members)


def _secret(parameters: Parameters, name: str) -> Secret[str]:
    value = parameters.require(name)
    if len(value) > MAX_TOKEN_LENGTH:
        raise invalid_request(f"the parameter {name} is too long")
    return Secret(value)


def _code_verifier(parameters: Parameters) -> Secret[str] | None:
    value = parameters.get("code_verifier")
    if value is None:
        return None
    # RFC 7636 §4.1: 43 to 128 unreserved characters.
    if not _CODE_VERIFIER.fullmatch(value):
        raise invalid_request("code_verifier must be 43 to 128 unreserved characters")
    return Secret(value)


def _refresh_attempt(parameters: Parameters) -> Secret[str] | None:
    value = parameters.get("refresh_attempt")
    if value is None:
        return None
    if not _ATTEMPT.fullmatch(value):
        raise invalid_request("refresh_attempt must be 22 base64url characters")
    return Secret(value)
