"""Another OpenID provider, as a relying party sees it: where to send people, and what a code is worth.

Everything is asked for when it is needed: sign-ins are rare, and a provider's new key or endpoint counts at once.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode

import orjson

from portero.adapters.fetch.discovery import ProviderMetadata, discover_provider
from portero.adapters.fetch.http import AsyncFetcher
from portero.adapters.fetch.issuer_keys import key_set_at
from portero.adapters.fetch.requests import Conversation, FetchRequest, Limits
from portero.core.errors import ConfigurationError, RequestError, Unavailable
from portero.core.jose.jwk_set import JWKSet
from portero.core.tokens.id_token import VerifiedIdToken, verify_id_token
from portero.core.types import Issuer, Secret

T = TypeVar("T")

MAX_NAME = 255
"""Characters of `sub` (OpenID Connect Core §2: ASCII), and of `sid`."""
AUTH_METHODS = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True)
class Provider:
    """One configured provider."""

    name: str
    issuer: Issuer
    client_id: str
    client_secret_env: str | None
    """The environment variable that holds the secret; None: a public client, with PKCE alone."""
    auth_method: str
    label: str
    scopes: tuple[str, ...]
    algorithms: tuple[str, ...]
    claims: Mapping[str, str]
    """Our claim → theirs."""
    acr_claim: str
    acr_prefix: str
    acr_values: tuple[str, ...]
    """Their words for the classes of sign-in that an application may ask for."""
    just_in_time: bool
    sign_out: bool
    """Who signs out here is sent to sign out there too."""
    fresh_prompt: str
    """What `prompt` has it ask the person again (OpenID Connect Core §3.1.2.1)."""
    timeout: float
    """Seconds that one step of a person's way waits for all of its answers together."""

    def client_secret(self) -> Secret[str] | None:
        """The secret, read now.

        Raises:
            ConfigurationError: the variable is not set.
        """
        if self.client_secret_env is None:
            return None
        value = os.environ.get(self.client_secret_env)
        if not value:
            setting = f"sign_in.openid.{self.name}.client_secret_env"
            raise ConfigurationError(setting, self.client_secret_env, "an environment variable that holds the secret")
        return Secret(value)


@dataclass(frozen=True, slots=True)
class Departure:
    """What has to come back, and what proves that it is ours. Kept with the attempt."""

    state: str
    nonce: str
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Vouching:
    """What the provider said of the person."""

    id_token: VerifiedIdToken
    raw_id_token: str = field(repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict)
    """The ID token's and userinfo's; the ID token's win."""


async def drive(provider: Provider, conversation: Conversation[T]) -> T:
    """Carry a conversation with a provider out, over connections of its own.

    Raises:
        Unavailable: no whole answer in time, or as the conversation says.
    """
    fetcher = AsyncFetcher(limits=Limits(timeout=provider.timeout))
    try:
        async with asyncio.timeout(provider.timeout):
            return await fetcher.drive(conversation)
    except TimeoutError:
        raise Unavailable(f"{provider.issuer} does not answer within {provider.timeout:g} s") from None
    finally:
        await fetcher.aclose()


def departing(
    provider: Provider,
    departure: Departure,
    *,
    redirect_uri: str,
    code_challenge: str,
    fresh: bool,
    acr_values: tuple[str, ...],
) -> Conversation[str]:
    """Where to send the browser (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3).

    Args:
        fresh: the provider shall ask the person again.
        acr_values: classes of sign-in that the application asks for, in their words.

    Raises:
        Unavailable: the provider cannot be reached, or its metadata is not its own.
    """
    metadata = yield from discover_provider(provider.issuer)
    members = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": departure.state,
        "nonce": departure.nonce,
        "code_challenge": code_challenge,
        "code_challenge_method": "S256",
    }
    if fresh:
        # `max_age` makes `auth_time` required in the answer: what the browser carries, its owner can change.
        members |= {"prompt": provider.fresh_prompt, "max_age": "0"}
    if acr_values:
        members["acr_values"] = " ".join(acr_values)
    separator = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{separator}{urlencode(members)}"


def redeeming(
    provider: Provider, departure: Departure, *, code: str, iss: str | None, redirect_uri: str, now: float
) -> Conversation[Vouching]:
    """Exchange a code and verify what comes for it.

    Args:
        iss: the parameter of the answer (RFC 9207), where it had one.

    Raises:
        RequestError: the answer is another provider's, or the ID token is not good.
        Unavailable: the provider cannot be reached, or answers nonsense.
    """
    metadata = yield from discover_provider(provider.issuer)
    # RFC 9207 §2.4: compared as it stands; missing where it was announced is as bad as wrong.
    if (iss is not None or metadata.announces_iss) and iss != provider.issuer:
        raise RequestError("invalid_request", "the answer is another provider's", detail="iss is missing or wrong")
    answer = yield _token_request(provider, metadata, departure, code=code, redirect_uri=redirect_uri)
    members = _object(answer.body, what=f"the token endpoint of {provider.issuer}")
    if answer.status != 200:
        if answer.status >= 500:
            raise Unavailable(f"the token endpoint of {provider.issuer} answers {answer.status}")
        error = str(members.get("error"))[:60]
        if error in ("invalid_client", "unauthorized_client"):
            # Our registration there is wrong: nothing that the person could do differently.
            raise Unavailable(f"the token endpoint of {provider.issuer} does not accept us: {error}")
        raise RequestError("invalid_request", "the provider refused the code", detail=error)
    raw, access_token = members.get("id_token"), members.get("access_token")
    if not isinstance(raw, str):
        raise RequestError("invalid_request", "the provider sent no ID token")
    keys = yield from key_set_at(metadata.jwks_uri)
    id_token = verify_id_token(
        raw,
        issuer=provider.issuer,
        client_id=provider.client_id,
        expected_nonce=departure.nonce,
        find_key=keys.find,
        now=now,
        algorithms=provider.algorithms,
        access_token=access_token if isinstance(access_token, str) else None,
    )
    _check_names(id_token)
    claims: dict[str, Any] = {}
    wanted = {*provider.claims.values(), provider.acr_claim, "name", "email"}
    if metadata.userinfo_endpoint and isinstance(access_token, str) and not wanted <= set(id_token.claims):
        claims = yield from _userinfo(metadata, access_token, subject=id_token.subject)
    return Vouching(id_token, raw, {**claims, **id_token.claims})


def _check_names(id_token: VerifiedIdToken) -> None:
    if len(id_token.subject) > MAX_NAME or not (id_token.subject.isascii() and id_token.subject.isprintable()):
        raise RequestError("invalid_request", "sub is not of 1 to 255 printable ASCII characters")
    if id_token.sid is not None and len(id_token.sid) > MAX_NAME:
        raise RequestError("invalid_request", "sid is longer than 255 characters")


def keys_of(provider: Provider) -> Conversation[JWKSet]:
    """The provider's keys, as it publishes them now."""
    metadata = yield from discover_provider(provider.issuer)
    return (yield from key_set_at(metadata.jwks_uri))


def _userinfo(metadata: ProviderMetadata, access_token: str, *, subject: str) -> Conversation[dict[str, Any]]:
    answer = yield FetchRequest(metadata.userinfo_endpoint or "", {"authorization": f"Bearer {access_token}"})
    if answer.status != 200:
        raise Unavailable(f"the userinfo endpoint of {metadata.issuer} answers {answer.status}")
    claims = _object(answer.body, what=f"the userinfo endpoint of {metadata.issuer}")
    # OpenID Connect Core §5.3.4: another subject's claims are used by nobody.
    if claims.get("sub") != subject:
        raise RequestError("invalid_request", "userinfo is of another person")
    return claims


def _token_request(
    provider: Provider, metadata: ProviderMetadata, departure: Departure, *, code: str, redirect_uri: str
) -> FetchRequest:
    form: dict[str, str | list[str]] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "client_id": provider.client_id,
        "code_verifier": departure.code_verifier,
    }
    headers = {}
    kept = provider.client_secret()
    if kept is not None:
        secret = kept.reveal()
        if provider.auth_method == "client_secret_post":
            form["client_secret"] = secret
        else:
            # RFC 6749 §2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return FetchRequest(metadata.token_endpoint, headers, form)


def _object(body: bytes, *, what: str) -> dict[str, Any]:
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"{what} answers no JSON") from error
    if not isinstance(members, dict):
        raise Unavailable(f"{what} answers no JSON object")
    return members
