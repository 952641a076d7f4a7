"""A client's DPoP key: proofs of possession, good or bad (RFC 9449).

    key = DpopKey()
    token = issuer.mint(cnf={"jkt": key.thumbprint})
    headers = key.headers(token, "GET", "https://service.test/api/orders", clock=issuer.clock)

Every further argument of `proof` replaces one claim; `None` leaves it out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey, render_public_jwk
from portero.ports import Clock
from portero.testing.clock import FakeClock
from portero.testing.tokens import new_key


class DpopKey:
    """One key pair of a client.

    Args:
        key: the private key; a new ES256 key by default.
    """

    def __init__(self, key: PrivateKey | None = None) -> None:
        self.key = key or new_key()
        self._made = 0

    @property
    def thumbprint(self) -> str:
        """What a token that is bound to the key says in `cnf.jkt` (RFC 7638)."""
        return self.key.public.thumbprint

    @property
    def cnf(self) -> dict[str, str]:
        """The claim `cnf` of such a token."""
        return {"jkt": self.thumbprint}

    def proof(
        self,
        token: str | None,
        htm: str,
        htu: str,
        *,
        clock: Clock | None = None,
        nonce: str | None = None,
        header: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Make a proof with its own `jti`.

        Args:
            token: the access token it goes with; `None`: no `ath`.
            htm: the request's method.
            htu: the request's URL, without query.
            clock: where `iat` comes from.
            header: replaces members of the JOSE header.
        """
        self._made += 1
        jwk = render_public_jwk(self.key.public)
        public = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
        members = {"typ": "dpop+jwt", "alg": self.key.alg, "jwk": public, **(header or {})}
        claims = {
            "htm": htm,
            "htu": htu,
            "iat": int((clock or FakeClock()).now()),
            "jti": f"proof-{self.thumbprint[:8]}-{self._made}",
            "ath": None if token is None else base64url.encode(hashlib.sha256(token.encode()).digest()),
            "nonce": nonce,
            **changes,
        }
        kept = [{name: value for name, value in part.items() if value is not None} for part in (members, claims)]
        signing_input = ".".join(base64url.encode(json.dumps(part).encode()) for part in kept)
        return f"{signing_input}.{base64url.encode(self.key.sign(signing_input.encode()))}"

    def headers(self, token: str, htm: str, htu: str, **more: Any) -> dict[str, str]:
        """The headers of a request with a token and its proof; the arguments are `proof`'s."""
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(token, htm, htu, **more)}
