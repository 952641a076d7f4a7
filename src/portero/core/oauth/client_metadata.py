"""Client metadata as clients state it (RFC 7591 §2), read into a registration that this server can keep.

Serves dynamic registration and client id metadata documents. What a client asks for and may not have is cut
away where the RFC allows it (scope), and refused where cutting would mislead (redirect URIs, methods). Members that
are not known are ignored (§2: "MUST ignore").

Leaves to the caller: who may register, the client's id and secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from portero.core.errors import ConfigurationError, RequestError
from portero.core.jose.jwk_set import JwkSetError, parse_jwk_set
from portero.core.oauth.client_authentication import AuthenticationMethod
from portero.core.oauth.redirect_uris import csp_source
from portero.core.oauth.token import GrantType
from portero.core.registration import check_client_metadata
from portero.core.transitions import Client, ClientType, RefreshProfile, RotationPolicy
from portero.core.types import ClientId, Digest, NumericDate

MAX_NAME = 80
"""Characters of `client_name`; a person reads it."""
MAX_URIS = 20
_GRANT_TYPES = (GrantType.AUTHORIZATION_CODE.value, GrantType.REFRESH_TOKEN.value)
"""What an application that registered itself may use: grants in which a person has a say."""


@dataclass(frozen=True, slots=True)
class RegistrationTerms:
    """What an operator lets clients have that registered themselves."""

    scope: tuple[str, ...]
    audiences: tuple[str, ...]
    methods: tuple[AuthenticationMethod, ...]
    """Ways to authenticate; the first one is the default."""
    id_token_algorithms: tuple[str, ...]


def client_of_metadata(
    members: Mapping[str, Any],
    *,
    client_id: ClientId,
    secret_digest: Digest | None,
    terms: RegistrationTerms,
    now: NumericDate,
) -> Client:
    """Read metadata into a registration.

    Args:
        members: the JSON object, as it was sent.
        secret_digest: of the secret the client gets where its method needs one.

    Raises:
        RequestError: `invalid_redirect_uri`, `invalid_client_metadata` (RFC 7591 §3.2.2).
    """
    method = _method(members, terms)
    redirect_uris = _uris(members, "redirect_uris")
    if not redirect_uris:
        raise _invalid_redirect_uri("redirect_uris must name at least one")
    client_type = ClientType.PUBLIC if method is AuthenticationMethod.NONE else ClientType.CONFIDENTIAL
    if not set(_texts(members, "response_types") or ("code",)) <= {"code"}:
        raise _invalid("response_types may be code")
    algorithm = _text(members, "id_token_signed_response_alg")
    if algorithm is not None and algorithm not in terms.id_token_algorithms:
        raise _invalid(f"id_token_signed_response_alg may be {', '.join(terms.id_token_algorithms)}")
    if (_text(members, "subject_type") or "public") != "public":
        raise _invalid("subject_type may be public")
    client = Client(
        client_id=client_id,
        client_name=_name(members, redirect_uris[0]),
        client_type=client_type,
        token_endpoint_auth_method=method.value,
        secret_digest=secret_digest if method.value.startswith("client_secret") else None,
        redirect_uris=redirect_uris,
        post_logout_redirect_uris=_uris(members, "post_logout_redirect_uris"),
        grant_types=_grant_types(members),
        scope=_scope(members, terms),
        audiences=terms.audiences,
        # The libraries of others know no attempts (decision 0233).
        refresh_profile=RefreshProfile.PLAIN,
        rotation=RotationPolicy.ALWAYS,
        require_pkce=client_type is ClientType.PUBLIC,
        first_party=False,
        allowed_origins=_origins(redirect_uris) if client_type is ClientType.PUBLIC else (),
        jwks=_jwks(members, method),
        backchannel_logout_uri=_text(members, "backchannel_logout_uri"),
        created=now,
        dpop_bound_access_tokens=members.get("dpop_bound_access_tokens") is True,
    )
    try:
        check_client_metadata(client)
    except ConfigurationError as error:
        name = error.setting.rpartition(".")[2]
        text = f"{name}: {error.expected}"
        raise (_invalid_redirect_uri(text) if name == "redirect_uris" else _invalid(text)) from None
    return client


def metadata_of(client: Client) -> dict[str, Any]:
    """Say what was registered (RFC 7591 §3.2.1), in the RFC's names."""
    members: dict[str, Any] = {
        "client_id": client.client_id,
        "client_name": client.client_name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
        "response_types": ["code"],
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "scope": " ".join(client.scope),
        "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
    }
    if client.post_logout_redirect_uris:
        members["post_logout_redirect_uris"] = list(client.post_logout_redirect_uris)
    if client.backchannel_logout_uri is not None:
        members["backchannel_logout_uri"] = client.backchannel_logout_uri
    if client.jwks is not None:
        members["jwks"] = json.loads(client.jwks)
    return members


def _method(members: Mapping[str, Any], terms: RegistrationTerms) -> AuthenticationMethod:
    stated = _text(members, "token_endpoint_auth_method")
    if stated is None:
        return terms.methods[0]
    found = next((method for method in terms.methods if method.value == stated), None)
    if found is None:
        raise _invalid(f"token_endpoint_auth_method may be {', '.join(method.value for method in terms.methods)}")
    return found


def _grant_types(members: Mapping[str, Any]) -> tuple[str, ...]:
    stated = _texts(members, "grant_types") or (GrantType.AUTHORIZATION_CODE.value,)
    if not set(stated) <= set(_GRANT_TYPES) or GrantType.AUTHORIZATION_CODE.value not in stated:
        raise _invalid(f"grant_types may be {', '.join(_GRANT_TYPES)}, the first one always")
    return tuple(grant for grant in _GRANT_TYPES if grant in stated)


def _scope(members: Mapping[str, Any], terms: RegistrationTerms) -> tuple[str, ...]:
    stated = _text(members, "scope")
    if stated is None:
        return terms.scope
    wanted = set(stated.split())
    scope = tuple(each for each in terms.scope if each in wanted)
    if not scope:
        raise _invalid(f"scope may be of {' '.join(terms.scope)}")
    return scope


def _name(members: Mapping[str, Any], redirect_uri: str) -> str:
    name = " ".join((_text(members, "client_name") or "").split())
    if not name:
        return urlsplit(redirect_uri).hostname or urlsplit(redirect_uri).scheme
    if len(name) > MAX_NAME or not name.isprintable():
        raise _invalid(f"client_name may have {MAX_NAME} printable characters")
    return name


def _jwks(members: Mapping[str, Any], method: AuthenticationMethod) -> str | None:
    # RFC 7591 §2: jwks_uri and jwks "MUST NOT both be present". Only the value is taken: no further place is fetched.
    if "jwks_uri" in members:
        raise _invalid("jwks_uri is not taken; send the keys as jwks")
    jwks = members.get("jwks")
    if method is not AuthenticationMethod.PRIVATE_KEY_JWT:
        return None
    if not isinstance(jwks, dict):
        raise _invalid("private_key_jwt needs jwks")
    text = json.dumps(jwks, separators=(",", ":"))
    try:
        keys = parse_jwk_set(text.encode())
    except JwkSetError:
        raise _invalid("jwks is no JWK Set") from None
    if not keys.keys:
        raise _invalid("jwks has no key that can be used")
    return text


def _origins(redirect_uris: tuple[str, ...]) -> tuple[str, ...]:
    """The origins of a page's redirect URIs: its scripts call the token endpoint from there."""
    pages = (uri for uri in redirect_uris if uri.startswith(("https:", "http:")))
    return tuple(dict.fromkeys(origin for uri in pages if (origin := csp_source(uri)) and origin == origin.lower()))


def _uris(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    uris = _texts(members, name)
    if len(uris) > MAX_URIS:
        raise _invalid(f"{name} may have {MAX_URIS} members")
    return uris


def _texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise (
            _invalid_redirect_uri(f"{name} must be an array of strings")
            if name == "redirect_uris"
            else _invalid(f"{name} must be an array of strings")
        )
    return tuple(dict.fromkeys(value))


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is None or (isinstance(value, str) and value):
        return value
    raise _invalid(f"{name} must be a string")


def _invalid(description: str) -> RequestError:
    return RequestError("invalid_client_metadata", description)


def _invalid_redirect_uri(description: str) -> RequestError:
    return RequestError("invalid_redirect_uri", description)
