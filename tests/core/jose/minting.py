"""Tokens for tests, good ones and any other kind: nothing here refuses anything."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson

from portero.adapters.keys.generate import generate_private_key
from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey, PublicKey
from portero.core.tokens.access_token import AccessTokenRules, Fault, InvalidToken, verify_access_token

NOW = 1_800_000_000
ISSUER = "https://issuer.example"
AUDIENCE = "https://shop.example/orders"
RULES = AccessTokenRules(ISSUER, AUDIENCE)

CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "ana",
    "aud": AUDIENCE,
    "exp": NOW + 300,
    "iat": NOW,
    "jti": "j-1",
    "client_id": "shop",
    "scope": "orders:read orders:write",
}
"""A whole and good set of claims, to change one thing in."""

FindKey = Callable[[str | None, str], PublicKey | None]


def private_key(alg: str = "ES256", name: str = "one") -> PrivateKey:
    """A key of that algorithm; another `name`, another key."""
    return _generated(alg, name)


@cache
def _generated(alg: str, name: str) -> PrivateKey:
    return generate_private_key(alg)


def finding(*keys: PrivateKey) -> FindKey:
    """A `find_key` over these keys, by `kid` and `alg` as a JWK Set finds them."""
    return lambda kid, alg: next((key.public for key in keys if key.kid == kid and key.alg == alg), None)


def header(key: PrivateKey | None = None, **members: Any) -> dict[str, Any]:
    """A good header; a member that is `...` is left out."""
    key = key or private_key()
    whole = {"alg": key.alg, "kid": key.kid, "typ": "at+jwt", **members}
    return {name: value for name, value in whole.items() if value is not ...}


def claims(**members: Any) -> dict[str, Any]:
    """Good claims; a member that is `...` is left out."""
    return {name: value for name, value in {**CLAIMS, **members}.items() if value is not ...}


def mint(
    head: dict[str, Any] | bytes | None = None,
    body: dict[str, Any] | bytes | None = None,
    key: PrivateKey | None = None,
) -> str:
    """Sign these very bytes, whatever they say."""
    key = key or private_key()
    signing_input = f"{segment(header(key) if head is None else head)}.{segment(CLAIMS if body is None else body)}"
    return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode()))}"


def mint_hmac(head: dict[str, Any], secret: bytes, body: dict[str, Any] | None = None) -> str:
    """Authenticate with any bytes as an HS256 secret."""
    signing_input = f"{segment(head)}.{segment(CLAIMS if body is None else body)}"
    return f"{signing_input}.{base64url.encode(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def segment(content: dict[str, Any] | bytes) -> str:
    """Encode one segment; `dict`s as compact JSON."""
    if isinstance(content, bytes):
        return base64url.encode(content)
    try:
        return base64url.encode(orjson.dumps(content))
    except TypeError:  # integers beyond 64 bits, lone surrogates
        return base64url.encode(json.dumps(content, separators=(",", ":")).encode())


def fault_of(
    token: str,
    *,
    rules: AccessTokenRules = RULES,
    find_key: FindKey | None = None,
    now: float = NOW,
) -> Fault | None:
    """Which check refuses the token; `None` when it is accepted."""
    try:
        verify_access_token(token, rules=rules, find_key=find_key or finding(private_key()), now=now)
    except InvalidToken as error:
        refusal = error
    else:
        return None
    assert (refusal.status, refusal.error) == (401, "invalid_token")
    return refusal.fault
