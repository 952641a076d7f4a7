"""DPoP at this server's endpoints: one proof per request, a nonce of ours in it, its `jti` spent (RFC 9449).

The nonce key is derived from the key that tags refresh tokens: it is outside the database
and the same on every server of a fleet, and nothing lasting depends on it (decision 0042).
"""

from __future__ import annotations

import hmac

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import first_use
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import Answer, Headers
from portero.core.errors import Unavailable
from portero.core.oauth.dpop import VerifiedProof, issue_nonce, verify_proof
from portero.core.oauth.errors import invalid_dpop_proof
from portero.core.types import NumericDate, Secret


class Proofs:
    """Checks the proofs that come with requests for one URL.

    Args:
        htu: the URL clients are told, never built from request headers.
    """

    def __init__(self, context: Context, *, htu: str) -> None:
        self._context = context
        self._htu = htu
        self._leeway = int(context.config.leeway.total_seconds())

    async def proven(self, request: Request, *, now: NumericDate) -> str | None:
        """Return the thumbprint of the key whose possession the request proves; None: it brings no proof.

        Raises:
            RequestError: `invalid_dpop_proof`, `use_dpop_nonce`; at most the proof's `jti` was committed.
            Unavailable: the store cannot be reached.
        """
        proof = request.header(b"dpop")
        if proof is None:
            return None
        verified = self._verified(proof, method=request.method, now=now)
        if not await first_use(self._context, verified.replay, now=now):
            raise invalid_dpop_proof("the DPoP proof was used before")
        return verified.jkt

    def nonce(self, *, now: NumericDate) -> Headers:
        """Return the `DPoP-Nonce` header for an answer."""
        return ((b"dpop-nonce", issue_nonce(self._nonce_key(), now=now).encode("ascii")),)

    def refused(self, request: Request, answer: Answer) -> Answer:
        """Return a refusal, to whoever speaks DPoP with the nonce for the next try (RFC 9449 §8)."""
        if not any(name == b"dpop" for name, _ in request.unverified_headers):
            return answer
        return answer.with_headers(self.nonce(now=self._context.now()))

    def _verified(self, proof: str, *, method: str, now: NumericDate) -> VerifiedProof:
        return verify_proof(proof, htm=method, htu=self._htu, now=now, leeway=self._leeway, nonce_key=self._nonce_key())

    def _nonce_key(self) -> Secret[bytes]:
        tag_key = self._context.tag_keys.get(self._context.tag_keys.current)
        if tag_key is None:
            raise Unavailable("there is no current tag key")
        return Secret(hmac.digest(tag_key.reveal(), b"portero dpop nonce key", "sha256"))
