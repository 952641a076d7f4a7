"""The filter of the log: what looks like a token, code, secret or key does not get through.

The second line of defence. The first is that nothing hands such a value to a log: secrets are
`Secret`, events carry identifiers. Here the shapes are caught that an exception's text or a
library's message could still carry: a JWT, a refresh token, a run of 256 random bits, an
`Authorization` value, a query string.
"""

from __future__ import annotations

import re

REMOVED = "[removed]"

_SHAPES = re.compile(
    r"""
      eyJ[\w-]*\.[\w-]*(?:\.[\w-]*)*             # a JWS or JWE in compact form, whole or cut off
    | prt\d\.[\w.-]*                             # our refresh token
    | -----BEGIN[^-]*PRIVATE[ ]KEY-----.*        # PEM, to the end: what follows is the key
    | (?i:\b(?:bearer|dpop|basic)[ ]+)[\w.~+/=-]{8,}  # RFC 6750 §2.1 b64token, RFC 7617
    | (?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{40,}  # 256 bits in base64url or hex: codes, secrets, cookies
    """,
    re.VERBOSE | re.DOTALL,
)
_QUERY = re.compile(r"(?<=[\w/])\?[\w.~%+-]+=[^\s\"'>]*")
_NAMED = re.compile(
    r"""(?i)\b(code|code_verifier|refresh_token|access_token|id_token|id_token_hint|client_secret|client_assertion
    |password|refresh_attempt|token|state|nonce)=[^&\s"']+""",
    re.VERBOSE,
)


def scrub(text: str) -> str:
    """Return the text without anything that has the shape of a credential, or of a query string."""
    text = _SHAPES.sub(REMOVED, text)
    text = _QUERY.sub("?" + REMOVED, text)
    return _NAMED.sub(lambda found: f"{found[1]}={REMOVED}", text)
