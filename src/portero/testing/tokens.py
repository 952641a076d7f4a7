"""Mint any access token, good or bad: to test what a service does with it.

    tokens = TokenFactory()
    good = tokens.mint(scope="orders:read")
    expired = tokens.mint(exp=1)
    without_subject = tokens.mint(sub=None)
    unsigned = tokens.compose({"alg": "none", "typ": "at+jwt"}, tokens.claims(), signature=b"")

Every argument of `mint` replaces one claim; `None` leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey, private_key_of
from portero.core.jose.jwk_set import render_jwk_set
from portero.ports import Clock
from portero.testing.clock import FakeClock

ISSUER = "https://issuer.test"
AUDIENCE = "https://service.test/api"


def new_key(alg: str = "ES256", *, kid: str | None = None) -> PrivateKey:
    """Make a signing key; RSA keys are made once a process and reused under each `kid`."""
    if alg == "ES256":
        return private_key_of(ec.generate_private_key(ec.SECP256R1()), alg=alg, kid=kid)
    if alg == "Ed25519":
        return private_key_of(Ed25519PrivateKey.generate(), alg=alg, kid=kid)
    return private_key_of(_rsa_key(), alg=alg, kid=kid)


class TokenFactory:
    """Mints tokens of one issuer for one audience.

    Args:
        issuer: `iss`.
        audience: `aud`.
        key: what signs; a new ES256 key by default.
        clock: where `iat` and `exp` come from.
    """

    def __init__(
        self,
        *,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        key: PrivateKey | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.key = key or new_key(kid="key-1")
        self.clock: Clock = clock or FakeClock()
        self._minted = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good access token (RFC 9068 §2.2), each token with its own `jti`; changed as said."""
        self._minted += 1
        now = int(self.clock.now())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "alice",
            "aud": self.audience,
            "exp": now + 300,
            "iat": now,
            "jti": f"token-{self._minted}",
            "client_id": "shop",
            "scope": "orders:read",
            "sid": "session-1",
            "auth_time": now,
            "acr": "pwd",
            "amr": ["pwd"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def mint(self, *, header: Mapping[str, Any] | None = None, key: PrivateKey | None = None, **changes: Any) -> str:
        """Sign a token whose claims are changed as said.

        Args:
            header: replaces members of the JOSE header; `None` as a value leaves one out.
            key: signs instead of the factory's; the header names it unless `header` says otherwise.
        """
        return self.compose(header or {}, self.claims(**changes), key=key)

    def compose(
        self,
        header: Mapping[str, Any] | bytes,
        claims: Mapping[str, Any] | bytes,
        *,
        key: PrivateKey | None = None,
        signature: bytes | None = None,
    ) -> str:
        """Put a token together from anything.

        Args:
            header: changes to the header, or its bytes as they shall stand.
            claims: the claims, or the payload's bytes as they shall stand.
            signature: instead of a real one.
        """
        key = key or self.key
        if isinstance(header, Mapping):
            members = {"alg": key.alg, "kid": key.kid, "typ": "at+jwt", **header}
            header = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
        if isinstance(claims, Mapping):
            claims = json.dumps(claims).encode()
        signing_input = f"{base64url.encode(header)}.{base64url.encode(claims)}"
        if signature is None:
            signature = key.sign(signing_input.encode())
        return f"{signing_input}.{base64url.encode(signature)}"

    def jwk_set(self) -> bytes:
        """The public keys, as the issuer publishes them."""
        return render_jwk_set([self.key.public])


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
