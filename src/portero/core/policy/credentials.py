"""Which access token a request carries: exactly one, from the `Authorization` header (RFC 6750 §2.1).

Never from the query string (§2.3: it ends in logs and histories). More than one credential
anywhere is refused before any of them is tried: two readers that pick different ones are
how a gateway and a service come to see two callers in one request.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from portero.core.policy.refusal import NO_TOKEN, Case, Refusal, two_tokens

SUBPROTOCOL_PREFIX = "portero.bearer."
"""A browser's WebSocket cannot set headers: it may offer the token as a subprotocol with this prefix."""

_EMPTY = Refusal(Case.INVALID_TOKEN, "The access token is empty.", fault="malformed")
DPOP_SCHEME = Refusal(
    Case.INVALID_TOKEN, "This service accepts the Bearer scheme only.", fault="scheme", detail="DPoP scheme"
)
"""The answer to a token of the DPoP scheme, unless a Guard checks proofs (`token_of_dpop`)."""


def token_of_header(authorization: bytes, query: bytes = b"") -> bytes | Refusal:
    """Read the token out of the one `Authorization` value.

    Args:
        authorization: the field value; a server that joined two of them with a comma is noticed.
        query: the undecoded query string, to notice a second token there.

    Returns:
        The token's bytes, not yet looked at, or the refusal.
    """
    # RFC 9110 §11.1: the scheme is case-insensitive; RFC 6750 §2.1: 1*SP, then b64token.
    if authorization[:7] != b"Bearer " and authorization[:7].lower() != b"bearer ":
        return _other_scheme(authorization)
    token = authorization[7:]
    if not token or token[0] == 32 or token[-1] == 32:
        token = token.strip(b" ")
        if not token:
            return _EMPTY
    if b"," in token:
        return two_tokens("Authorization holds a comma")
    if query and carries_token(query):
        return two_tokens("Authorization and query string")
    return token


def token_of_dpop(authorization: bytes, query: bytes = b"") -> bytes | Refusal:
    """Read the token out of an `Authorization` value of the DPoP scheme (RFC 9449 §7.1); as `token_of_header`."""
    return token_of_header(b"Bearer " + authorization[5:].lstrip(b" "), query)


def token_of(headers: Iterable[tuple[bytes, bytes]], query: bytes = b"") -> bytes | Refusal:
    """Read the token out of a request's headers (names in lower case)."""
    found = [value for name, value in headers if name == b"authorization"]
    if not found:
        return NO_TOKEN
    if len(found) > 1:
        return two_tokens("Authorization is repeated")
    return token_of_header(found[0], query)


def carries_token(query: bytes) -> bool:
    """Whether a query string has a parameter named `access_token`, however it is encoded."""
    if b"token" not in query and b"%" not in query:
        return False
    return any(unquote_to_bytes(pair.partition(b"=")[0]) == b"access_token" for pair in query.split(b"&"))


def token_of_subprotocols(offered: Iterable[str]) -> tuple[bytes | None, tuple[str, ...]] | Refusal:
    """Split the token off the subprotocols a WebSocket client offers.

    Returns:
        The token, or `None`, and the other subprotocols, which the application chooses from.
    """
    rest: list[str] = []
    tokens: list[str] = []
    for name in offered:
        if name.startswith(SUBPROTOCOL_PREFIX):
            tokens.append(name.removeprefix(SUBPROTOCOL_PREFIX))
        else:
            rest.append(name)
    if len(tokens) > 1:
        return two_tokens("two subprotocols")
    return (tokens[0].encode("latin-1", "replace") if tokens else None), tuple(rest)


def _other_scheme(authorization: bytes) -> Refusal:
    scheme = authorization.partition(b" ")[0].lower()
    if b"," in authorization and b"bearer " in authorization.lower():
        return two_tokens("Authorization holds a comma")
    if scheme == b"bearer":
        return _EMPTY
    if scheme == b"dpop":
        return DPOP_SCHEME
    # Another scheme is no token of ours; the challenge says which would do.
    return NO_TOKEN
