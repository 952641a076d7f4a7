"""Where PyJWT and joserfc judge a token otherwise than Portero, who is right, and why.

`Right.PORTERO`: a specification says so. `Right.EITHER`: it leaves the choice, and this is ours.
No row says that the other is right: such a difference would be a bug to mend, not a row to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

BOTH = ("PyJWT", "joserfc")


class Right(Enum):
    """Whose verdict the specification asks for."""

    PORTERO = "Portero"
    EITHER = "either"


@dataclass(frozen=True)
class Row:
    """One difference: of these deviations, beside these libraries."""

    deviations: tuple[str, ...]
    libraries: tuple[str, ...]
    right: Right
    why: str


def _each(name: str, *kinds: str) -> tuple[str, ...]:
    return tuple(f"{name}: {kind}" for kind in kinds)


DIFFERENCES = (
    Row(
        _each("typ", "JWT", "another", "missing"),
        BOTH,
        Right.PORTERO,
        "RFC 9068 §4: a typ other than at+jwt has to be refused, or an ID token passes for an access token",
    ),
    Row(_each("typ", "no text"), ("PyJWT",), Right.PORTERO, "RFC 7515 §4.1.9: typ is a string"),
    Row(
        _each("kid", "another"),
        BOTH,
        Right.EITHER,
        "they are given one key and try it; we look the key up by the name the token gives (RFC 7515 §4.1.4)",
    ),
    Row(
        _each("crit", "empty"),
        ("joserfc",),
        Right.PORTERO,
        "RFC 7515 §4.1.11: crit must not be an empty list",
    ),
    Row(
        _each("b64", "true"),
        BOTH,
        Right.PORTERO,
        "RFC 7797 §6: who uses b64 has to name it in crit; RFC 7797 §7: a JWT must not use it as false",
    ),
    Row(
        _each("enc", "there"),
        ("PyJWT",),
        Right.EITHER,
        "RFC 7516 §9: a header with enc is that of a JWE; three segments beside it are a contradiction",
    ),
    Row(
        _each("zip", "there"),
        ("joserfc",),
        Right.PORTERO,
        "RFC 7515 §4: parameters that are not understood are ignored, and a JWS is not compressed",
    ),
    Row(
        _each("client_id", "array", "boolean", "mixed array", "number", "object"),
        BOTH,
        Right.PORTERO,
        "RFC 8693 §4.3 by RFC 9068 §2.2: client_id is a string",
    ),
    Row(
        (*_each("client_id", "empty"), *_each("jti", "empty"), *_each("sub", "empty")),
        ("PyJWT",),
        Right.EITHER,
        "an empty text is a string, and names nobody: what has to be there has to say something",
    ),
    Row(
        _each("exp", "digits"),
        ("PyJWT",),
        Right.PORTERO,
        "RFC 7519 §2: NumericDate is a JSON number; text is not",
    ),
    Row(
        (*_each("iat", "boolean"), *_each("nbf", "boolean")),
        ("PyJWT",),
        Right.PORTERO,
        "RFC 7519 §2: NumericDate is a JSON number; true is not 1",
    ),
    Row(
        (*_each("exp", "beyond 9999"), *_each("iat", "negative"), *_each("nbf", "negative")),
        BOTH,
        Right.EITHER,
        "a date no clock shows is a mistake (milliseconds, most often) or an attack",
    ),
    Row(
        tuple(
            f"{name}: {kind}"
            for name in ("acr", "amr", "roles", "scope", "sid")
            for kind in ("mixed array", "number", "object")
        ),
        BOTH,
        Right.PORTERO,
        "RFC 9068 §2.2, RFC 8693 §4.2, OpenID Connect Core §2: the claim has a type; they do not know the claim",
    ),
    Row(
        _each("cnf", "null", "number"),
        BOTH,
        Right.PORTERO,
        "RFC 7800 §3.1: cnf is an object; ignoring it makes a bound token a bearer token",
    ),
    Row(
        _each("cnf", "object"),
        BOTH,
        Right.EITHER,
        "a binding that cannot be checked refuses the token: docs/decisions/0014",
    ),
    Row(
        _each("payload", "NaN", "a lone surrogate", "a number out of range"),
        BOTH,
        Right.PORTERO,
        "RFC 8259 §6, RFC 7493 §2.1, §2.2: no JSON, or JSON that another reader reads otherwise",
    ),
    Row(
        _each("payload", "UTF-16", "with a byte order mark"),
        BOTH,
        Right.PORTERO,
        "RFC 7519 §7.2: the claims are UTF-8; RFC 8259 §8.1: and no byte order mark is added",
    ),
    Row(
        _each("payload", "a member twice"),
        BOTH,
        Right.EITHER,
        "RFC 7519 §4 allows refusing it or taking the last: which one counts then depends on the reader",
    ),
    Row(
        _each("payload", "a hundred levels"),
        BOTH,
        Right.EITHER,
        "RFC 8259 §9 allows a limit of depth; ours is 32",
    ),
    Row(
        (*_each("payload", "padded base64"), *_each("signature", "padded")),
        ("PyJWT",),
        Right.PORTERO,
        "RFC 7515 §2: base64url with the trailing = left out; else one token has several spellings",
    ),
    Row(
        _each("token", "nine thousand characters"),
        BOTH,
        Right.EITHER,
        "8192 characters, looked at before anything is decoded",
    ),
)
