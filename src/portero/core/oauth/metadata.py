"""Authorization server metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3): what there is, and nothing else.

One document serves both well-known paths. Every path of the server is derived here from
the issuer, so that what is announced and what is mounted cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from portero.core.oauth.authorization import Prompt, ResponseMode
from portero.core.oauth.client_authentication import ASSERTION_ALGORITHMS, AuthenticationMethod
from portero.core.oauth.dpop import PROOF_ALGORITHMS
from portero.core.oauth.token import GrantType
from portero.core.types import Issuer

OAUTH_WELL_KNOWN = "/.well-known/oauth-authorization-server"
OPENID_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The server's paths below `base`, the issuer's own path without trailing slash (often empty)."""

    issuer: Issuer
    base: str

    @staticmethod
    def of(issuer: Issuer) -> Endpoints:
        """Derive the paths of an issuer."""
        return Endpoints(issuer=issuer, base=urlsplit(issuer).path.rstrip("/"))

    def path(self, name: str) -> str:
        """The path a request for `/name` arrives at."""
        return f"{self.base}/{name}"

    def url(self, name: str) -> str:
        """The URL clients are told."""
        return f"{self.issuer.rstrip('/')}/{name}"

    @property
    def well_known(self) -> tuple[str, ...]:
        """Where the metadata is: RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID after it."""
        return tuple(
            dict.fromkeys(
                (
                    f"{OAUTH_WELL_KNOWN}{self.base}",
                    f"{OPENID_WELL_KNOWN}{self.base}",  # RFC 8414 §5
                    f"{self.base}{OPENID_WELL_KNOWN}",
                )
            )
        )


AUTHORIZE = "authorize"
TOKEN = "token"
REVOKE = "revoke"
INTROSPECT = "introspect"
USERINFO = "userinfo"
PAR = "par"
AUTHORIZATION_CHALLENGE = "authorization_challenge"
"""Where applications of the house sign people in by themselves (draft-ietf-oauth-first-party-apps-04)."""
DEVICE_AUTHORIZATION = "device_authorization"
DEVICE = "device"
"""Where people type a device's code: `verification_uri` (RFC 8628 §3.2)."""
REGISTER = "register"
"""Where clients register themselves, where that is on."""
JWKS = "jwks"
END_SESSION = "end_session"
REVOCATIONS = "revocations"
"""Below it: `snapshot`, `stream`, and the long poll at the path itself (design §3.3)."""

STATUS_LISTS = "status-lists"
"""The status lists, where they are on."""

CLAIMS = ("sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid")
"""Claims that ID tokens may carry."""


def server_metadata(
    *,
    issuer: Issuer,
    scopes: tuple[str, ...],
    id_token_algorithms: tuple[str, ...],
    languages: tuple[str, ...],
    status_lists: bool = False,
    registration: bool = False,
    client_documents: bool = False,
    person_claims: tuple[str, ...] = (),
    acr_values: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """Return the metadata document's members.

    Args:
        issuer: exactly as tokens carry it (RFC 8414 §3.3: the client compares).
        scopes: scopes that may be announced.
        id_token_algorithms: `alg` values of the published keys.
        languages: BCP 47 tags of the pages.
        registration: whether clients may register themselves.
        client_documents: whether a URL may be a client id.
        person_claims: what the userinfo endpoint may say of a person.
        acr_values: authentication context classes that the ways to sign in bring about.
        status_lists: whether tokens name a place in a status list.
    """
    endpoints = Endpoints.of(issuer)
    methods = [method.value for method in AuthenticationMethod]
    confidential = [method for method in methods if method != AuthenticationMethod.NONE.value]
    return {
        "issuer": issuer,
        "authorization_endpoint": endpoints.url(AUTHORIZE),
        "token_endpoint": endpoints.url(TOKEN),
        "jwks_uri": endpoints.url(JWKS),
        "userinfo_endpoint": endpoints.url(USERINFO),
        "revocation_endpoint": endpoints.url(REVOKE),
        "introspection_endpoint": endpoints.url(INTROSPECT),
        "pushed_authorization_request_endpoint": endpoints.url(PAR),
        # draft-ietf-oauth-first-party-apps-04 §8
        "authorization_challenge_endpoint": endpoints.url(AUTHORIZATION_CHALLENGE),
        "device_authorization_endpoint": endpoints.url(DEVICE_AUTHORIZATION),  # RFC 8628 §4
        "end_session_endpoint": endpoints.url(END_SESSION),
        "scopes_supported": list(scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": [mode.value for mode in ResponseMode],
        "prompt_values_supported": [prompt.value for prompt in Prompt],
        "acr_values_supported": list(acr_values),
        "grant_types_supported": [grant.value for grant in GrantType],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(id_token_algorithms),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        # Back-Channel Logout 1.0 §2.1; every logout token names the session.
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "claim_types_supported": ["normal"],
        "claims_supported": [*CLAIMS, *person_claims],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "ui_locales_supported": list(languages),
        **({"registration_endpoint": endpoints.url(REGISTER)} if registration else {}),
        # draft-ietf-oauth-client-id-metadata-document-01 §5
        "client_id_metadata_document_supported": client_documents,
        # draft-ietf-oauth-status-list-21 §9.1
        **({"status_list_aggregation_endpoint": endpoints.url(STATUS_LISTS)} if status_lists else {}),
    }
