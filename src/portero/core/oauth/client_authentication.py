"""Client authentication: `none`, `client_secret_basic`, `client_secret_post`, `private_key_jwt`.

RFC 6749 §2.3, RFC 7521 §4.2, RFC 7523 §3 (and its revision: the audience is the issuer as
sole value). Exactly one method, and the registered one: a client that could also come in
another way is only as safe as the weaker of the two.

An unknown client, a disabled one, a wrong secret and a wrong method all look the same on
the wire. Leaves to the caller: loading the client between the two steps, and committing
the assertion's `ReplayMark`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from portero.core.digests import namespaced_digest, sha256_of
from portero.core.errors import RequestError
from portero.core.jose.jwk_set import JWKSet, JwkSetError, parse_jwk_set
from portero.core.jose.jws import JwsError, unverified_payload, verify_compact
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.oauth.errors import invalid_client, invalid_request
from portero.core.oauth.forms import Parameters, percent_decode
from portero.core.transitions import Client, ReplayMark
from portero.core.types import ClientId, Digest, Issuer, NumericDate, Secret

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_ALGORITHMS = ("ES256", "RS256", "PS256", "Ed25519")
ASSERTION_TYPS = frozenset({None, "jwt", "client-authentication+jwt"})
"""RFC 7523 knows no `typ`; its revision names the last one. What types of ours use is refused."""
MAX_ASSERTION_LIFE = 300
"""Seconds an assertion's `exp` may lie ahead: how long its `jti` has to be remembered."""
MAX_JTI_LENGTH = 256
MAX_CLIENT_ID_LENGTH = 512

_NOBODY = Digest(bytes(32))
"""What an unknown client's secret is compared with: the same work, never equal."""


class AuthenticationMethod(Enum):
    """Registered values of `token_endpoint_auth_method` (RFC 7591 §2)."""

    NONE = "none"
    CLIENT_SECRET_BASIC = "client_secret_basic"
    CLIENT_SECRET_POST = "client_secret_post"
    PRIVATE_KEY_JWT = "private_key_jwt"


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """What a request says of its client; nobody has checked it."""

    method: AuthenticationMethod
    unverified_client_id: ClientId
    secret: Secret[str] | None = None
    assertion: Secret[str] | None = None


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client that proved who it is (or, for `none`, is known and has nothing to prove)."""

    client: Client
    method: AuthenticationMethod
    replay: ReplayMark | None = None
    """To be committed before anything else happens; a mark seen before is `invalid_client`."""

    @property
    def is_proven(self) -> bool:
        """Whether there was a proof."""
        return self.method is not AuthenticationMethod.NONE


class BasicRefused(RequestError):
    """Authentication by the `Authorization` header failed; the answer carries a challenge (RFC 6749 §5.2)."""


def parse_credentials(parameters: Parameters, *, authorization: str | None) -> PresentedCredentials:
    """Find the one method a request uses.

    Args:
        parameters: the body's.
        authorization: the header's value, or None.

    Raises:
        RequestError: `invalid_request` for more than one method or contradicting parameters,
            `invalid_client` for none at all or malformed credentials.
    """
    client_id = parameters.get("client_id")
    if client_id is not None and len(client_id) > MAX_CLIENT_ID_LENGTH:
        raise invalid_request("client_id is too long")
    secret = parameters.get("client_secret")
    has_assertion = "client_assertion" in parameters or "client_assertion_type" in parameters
    # RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
    if (authorization is not None) + (secret is not None) + has_assertion > 1:
        raise invalid_request("more than one client authentication method")
    if authorization is not None:
        return _basic(authorization, client_id=client_id)
    if has_assertion:
        return _assertion(parameters, client_id=client_id)
    if client_id is None:
        raise invalid_client("the request names no client")
    if secret is not None:
        return PresentedCredentials(AuthenticationMethod.CLIENT_SECRET_POST, ClientId(client_id), secret=Secret(secret))
    return PresentedCredentials(AuthenticationMethod.NONE, ClientId(client_id))


def authenticate_client(
    presented: PresentedCredentials,
    client: Client | None,
    *,
    issuer: Issuer,
    now: NumericDate,
    leeway: int,
    insecure_accepted_audience: str | None = None,
) -> AuthenticatedClient:
    """Check the credentials against the registration.

    Args:
        presented: from `parse_credentials`.
        client: the record `presented.unverified_client_id` names, or None.
        issuer: the only audience an assertion may have.
        now: NumericDate.
        leeway: seconds of clock difference tolerated.
        insecure_accepted_audience: the token endpoint's URL, where an operator chose to accept
            it too: an assertion for it can be replayed by whoever makes a client believe that
            URL is somebody else's (audience injection).

    Does not check: that an assertion's `jti` was not seen before; commit `replay` for that.

    Raises:
        RequestError: `invalid_client`, one text for all causes. Nothing was committed.
    """
    try:
        return _authenticate(presented, client, issuer, now, leeway, insecure_accepted_audience)
    except RequestError as error:
        if presented.method is AuthenticationMethod.CLIENT_SECRET_BASIC:
            raise _basic_refused(error.detail) from None
        raise


def replayed_assertion() -> RequestError:
    """The refusal of an assertion whose `jti` was seen before."""
    return invalid_client("the client assertion was used before")


def _authenticate(
    presented: PresentedCredentials,
    client: Client | None,
    issuer: Issuer,
    now: NumericDate,
    leeway: int,
    insecure_accepted_audience: str | None,
) -> AuthenticatedClient:
    method = presented.method
    if presented.secret is not None:
        # Before any early way out: an unknown client costs the same comparison.
        stored = client.secret_digest if client is not None else None
        equal = Secret[bytes](sha256_of(presented.secret)).matches(Secret[bytes](stored or _NOBODY))
    if client is None:
        raise invalid_client("unknown client")
    if not client.enabled:
        raise invalid_client("the client is disabled")
    if method.value != client.token_endpoint_auth_method:
        raise invalid_client(f"the client is registered for {client.token_endpoint_auth_method}, not {method.value}")
    if method is AuthenticationMethod.NONE:
        return AuthenticatedClient(client, method)
    if method is AuthenticationMethod.PRIVATE_KEY_JWT:
        audiences = [str(issuer)]
        if insecure_accepted_audience is not None:
            audiences.append(insecure_accepted_audience)
        mark = _verify_assertion(presented, client, audiences=audiences, now=now, leeway=leeway)
        return AuthenticatedClient(client, method, replay=mark)
    if client.secret_digest is None or not equal:
        raise invalid_client("wrong secret")
    return AuthenticatedClient(client, method)


def _basic(authorization: str, *, client_id: str | None) -> PresentedCredentials:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _basic_refused("the Authorization header has another scheme than Basic")
    try:
        # RFC 7617 §2; RFC 6749 §2.3.1: each part is form-urlencoded before it is joined.
        text = base64.b64decode(encoded.strip(" "), validate=True).decode("utf-8")
        unverified_id, colon, secret = text.partition(":")
        unverified_id, secret = percent_decode(unverified_id), percent_decode(secret)
    except (binascii.Error, ValueError, RequestError):
        raise _basic_refused("malformed Basic credentials") from None
    if not colon or not unverified_id or len(unverified_id) > MAX_CLIENT_ID_LENGTH:
        raise _basic_refused("malformed Basic credentials")
    if client_id is not None and client_id != unverified_id:
        raise invalid_request("client_id differs from the authenticated client")
    return PresentedCredentials(
        AuthenticationMethod.CLIENT_SECRET_BASIC, ClientId(unverified_id), secret=Secret(secret)
    )


def _assertion(parameters: Parameters, *, client_id: str | None) -> PresentedCredentials:
    if parameters.require("client_assertion_type") != ASSERTION_TYPE:
        raise invalid_request("this client_assertion_type is not supported")
    assertion = parameters.require("client_assertion")
    try:
        unverified = parse_object(unverified_payload(assertion))
    except (JwsError, StrictJsonError):
        raise invalid_client("malformed client assertion") from None
    unverified_id = unverified.get("sub")
    if not isinstance(unverified_id, str) or not 0 < len(unverified_id) <= MAX_CLIENT_ID_LENGTH:
        raise invalid_client("the client assertion has no sub")
    # RFC 7521 §4.2: client_id is unnecessary, but must identify the same client.
    if client_id is not None and client_id != unverified_id:
        raise invalid_request("client_id differs from the client assertion's sub")
    return PresentedCredentials(
        AuthenticationMethod.PRIVATE_KEY_JWT, ClientId(unverified_id), assertion=Secret(assertion)
    )


def _verify_assertion(
    presented: PresentedCredentials, client: Client, *, audiences: list[str], now: NumericDate, leeway: int
) -> ReplayMark:
    if client.jwks is None or presented.assertion is None:
        raise invalid_client("the client has no keys registered")
    try:
        keys = _registered_keys(client.jwks)
        jws = verify_compact(
            presented.assertion.reveal(),
            find_key=keys.find,
            algorithms=ASSERTION_ALGORITHMS,
            expected_typ=ASSERTION_TYPS,
        )
        claims = parse_object(jws.payload)
    except (JwkSetError, JwsError, StrictJsonError) as error:
        raise invalid_client(f"client assertion refused: {error}") from None
    # RFC 7523 §3, items 1 and 2: iss and sub are the client.
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
        raise invalid_client("the client assertion's iss and sub are not the client")
    # Item 3, as revised: the issuer, and nobody else beside it.
    aud = claims.get("aud")
    if isinstance(aud, list) and len(aud) == 1:
        aud = aud[0]
    if not isinstance(aud, str) or aud not in audiences:
        raise invalid_client("the client assertion's aud is not this issuer alone")
    # Items 4 to 6.
    exp = claims.get("exp")
    if type(exp) is not int or now >= exp + leeway:
        raise invalid_client("the client assertion has expired, or has no exp")
    if exp > now + MAX_ASSERTION_LIFE + leeway:
        raise invalid_client("the client assertion's exp lies too far ahead")
    for name in ("nbf", "iat"):
        when = claims.get(name)
        if when is not None and (type(when) is not int or when > now + leeway):
            raise invalid_client(f"the client assertion's {name} lies ahead")
    # Item 7: single use.
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH:
        raise invalid_client("the client assertion has no jti")
    digest = namespaced_digest(f"client_assertion {client.client_id}", jti)
    return ReplayMark(digest=digest, expires=NumericDate(exp + leeway + 1))


@lru_cache(maxsize=256)
def _registered_keys(jwks: str) -> JWKSet:
    return parse_jwk_set(jwks.encode())


def _basic_refused(detail: str) -> RequestError:
    error = invalid_client(detail)
    return BasicRefused(error.error, error.description, status=error.status, detail=detail)
