"""Tokens that are worth nothing without a key of this session (RFC 9449): proofs, nonces, and the server's clock.

The key is made at sign-in and kept beside the tokens. It stops whoever reads a token from a log or on the way; whoever
reads the store has both.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import orjson

from portero.adapters.keys.generate import generate_private_key
from portero.core.jose.base64url import encode
from portero.core.jose.jwk import private_key_from_jwk, private_key_to_jwk, render_public_jwk
from portero.core.jose.jws import sign_compact
from portero.core.types import Secret
from portero.ports import Clock, Random

_SKEW = 30.0
"""Seconds of difference to a server's clock that are worth a second try."""
_ORIGINS = 100
"""Of so many servers nonce and clock are remembered."""
_PUBLIC = ("kty", "crv", "x", "y")


def make_key() -> Secret[str]:
    """Make a key, as the text that `Prover` takes: a private JWK."""
    return Secret(private_key_to_jwk(generate_private_key("ES256")).reveal().decode())


class Prover:
    """Makes the proofs of one key. Safe for threads.

    Args:
        key: from `make_key`.
    """

    def __init__(self, key: Secret[str], *, clock: Clock, random: Random) -> None:
        self.key = key
        self._private = private_key_from_jwk(Secret(key.reveal().encode()))
        self._public = {
            name: value for name, value in render_public_jwk(self._private.public).items() if name in _PUBLIC
        }
        self.thumbprint = self._private.public.thumbprint
        self._clock, self._random = clock, random
        self._lock = threading.Lock()
        self._nonces: dict[str, str] = {}
        self._skews: dict[str, float] = {}

    def proof(self, method: str, url: str, *, access_token: Secret[str] | None = None) -> str:
        """Make a proof for one request: a server that has seen its `jti` refuses it (§11.1), so each has its own."""
        origin, htu = _places(url)
        with self._lock:
            nonce, skew = self._nonces.get(origin), self._skews.get(origin, 0.0)
        claims = {
            "jti": encode(self._random.bytes(16)),
            "htm": method,
            "htu": htu,
            "iat": int(self._clock.now() + skew),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        if access_token is not None:
            claims["ath"] = encode(hashlib.sha256(access_token.reveal().encode()).digest())
        return sign_compact({"typ": "dpop+jwt", "jwk": self._public}, orjson.dumps(claims), self._private)

    def learn(self, url: str, headers: Mapping[str, str]) -> bool:
        """Remember nonce and clock of an answer; say whether they are new (then the request is worth a second try).

        Args:
            headers: names in any case a mapping of `httpx` finds, or in lower case.
        """
        origin, _ = _places(url)
        nonce, date = headers.get("dpop-nonce"), headers.get("date")
        try:
            skew = None if date is None else parsedate_to_datetime(date).timestamp() - self._clock.now()
        except ValueError:
            skew = None
        with self._lock:
            news = nonce is not None and nonce != self._nonces.get(origin)
            drifted = skew is not None and abs(skew - self._skews.get(origin, 0.0)) > _SKEW
            if len(self._nonces) + len(self._skews) >= _ORIGINS:
                self._nonces.clear()
                self._skews.clear()
            if nonce is not None:
                self._nonces[origin] = nonce
            if drifted and skew is not None:
                self._skews[origin] = skew
        return news or drifted

    def __repr__(self) -> str:
        return "Prover(…)"


def _places(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin, origin + (parts.path or "/")
