"""JWS compact serialization (RFC 7515 §3.1, §5), and nothing else of JOSE.

The order is fixed: structure, `typ` and `alg`, key, signature. Only then is the payload
decoded. No JSON serialization, no JWE, no unencoded payload (RFC 7797), no `crit` (we
understand no extension), and no key from a header: `jwk`, `jku`, `x5u` and `x5c` are data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import orjson

from portero.core.errors import PorteroError
from portero.core.jose.algorithms import canonical_alg
from portero.core.jose.base64url import Base64UrlError, decode, encode
from portero.core.jose.jwk import MAX_KID_LENGTH, PrivateKey, PublicKey
from portero.core.jose.strict_json import StrictJsonError, parse_object

MAX_TOKEN_LENGTH: Final = 8192
"""Characters; looked at before anything is decoded."""
_MEMO_LENGTH: Final = 512
"""Characters of the longest header segment that is remembered."""

FindKey = Callable[[str | None, str], PublicKey | None]
"""`(kid, alg)` → the one key, or `None`. `alg` is in its fully specified name."""


class JwsFault(Enum):
    """Which check refused, in the order of the checks."""

    MALFORMED = "malformed"
    TYPE = "type"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"


class JwsError(PorteroError):
    """The text is not a JWS we accept. Each protocol answers with its own registered error."""

    def __init__(self, fault: JwsFault, description: str) -> None:
        super().__init__(description)
        self.fault = fault
        self.description = description


class InsecureTyp(Enum):
    """A choice somebody has to write down."""

    ANY = "any"


INSECURE_ANY_TYP: Final = InsecureTyp.ANY
"""Accept every `typ` and none: one kind of token can then pass for another (RFC 8725 §3.11)."""


@dataclass(frozen=True, slots=True)
class Header:
    """A JOSE header that is well formed. Nobody has verified anything of it."""

    alg: str
    """As written."""
    kid: str | None
    typ: str | None
    """Lower case, without `application/` (RFC 7515 §4.1.9)."""
    key_alg: str
    """`alg` in its fully specified name (RFC 9864): what a key has to be for."""
    members: Mapping[str, Any]
    """All members, read-only."""


@dataclass(frozen=True, slots=True)
class VerifiedJws:
    """What the signature covers."""

    header: Header
    payload: bytes
    key: PublicKey


def sign_compact(header: Mapping[str, Any], payload: bytes, key: PrivateKey) -> str:
    """Sign; `alg` and `kid` are the key's and are put into the header here.

    Args:
        header: further header parameters, usually `{"typ": …}`.
        payload: the bytes to sign.
        key: what signs, and says with which algorithm.

    Raises:
        ValueError: the header names another `alg` or `kid`, or `crit` or `b64`.
    """
    if header.get("alg", key.alg) != key.alg or header.get("kid", key.kid) != key.kid:
        raise ValueError("alg and kid are the key's")
    if "crit" in header or "b64" in header:
        raise ValueError("crit and b64 are not supported")
    if len(header) == 1 and isinstance(typ := header.get("typ"), str):
        encoded_header = _header_with_typ(key.alg, key.kid, typ)
    else:
        encoded_header = encode(orjson.dumps({"alg": key.alg, "kid": key.kid, **header}))
    signing_input = f"{encoded_header}.{encode(payload)}"
    return f"{signing_input}.{encode(key.sign(signing_input.encode('ascii')))}"


@lru_cache(maxsize=64)
def _header_with_typ(alg: str, kid: str, typ: str) -> str:
    # What a server signs has few different headers, and they come with every token.
    return encode(orjson.dumps({"alg": alg, "kid": kid, "typ": typ}))


def verify_compact(
    token: str,
    *,
    find_key: FindKey,
    algorithms: Collection[str],
    expected_typ: Collection[str | None] | InsecureTyp,
    max_length: int = MAX_TOKEN_LENGTH,
) -> VerifiedJws:
    """Verify a JWS in compact serialization.

    Args:
        token: the text as received.
        find_key: looks a key up by `kid` and `alg`; must not do anything else with `kid`.
        algorithms: acceptable `alg` values, as registered; never empty in effect (nothing passes).
        expected_typ: acceptable `typ` values in lower case and without `application/`.
        max_length: characters.

    Does not check: anything the payload says (claims).

    Raises:
        JwsError: with the first check that failed.
    """
    return VerifiedJws(*verify_segments(token, find_key, algorithms, expected_typ, max_length))


def verify_segments(
    token: str,
    find_key: FindKey,
    algorithms: Collection[str],
    expected_typ: Collection[str | None] | InsecureTyp,
    max_length: int = MAX_TOKEN_LENGTH,
) -> tuple[Header, bytes, PublicKey]:
    """Do the work of `verify_compact`, for the path where each object made is felt; positional for the same reason."""
    header, signing_input, payload_segment, signature_segment = _split(token, max_length)
    if expected_typ is not INSECURE_ANY_TYP and header.typ not in expected_typ:
        raise JwsError(JwsFault.TYPE, "the token is of another type")
    if header.alg not in algorithms:
        raise JwsError(JwsFault.ALGORITHM, "the token's algorithm is not accepted")
    alg = header.key_alg
    key = find_key(header.kid, alg)
    if key is None:
        raise JwsError(JwsFault.UNKNOWN_KEY, "no key is known for the token")
    if key.alg != alg:
        raise JwsError(JwsFault.ALGORITHM, "the key is for another algorithm")
    try:
        signature = decode(signature_segment)
    except Base64UrlError:
        raise JwsError(JwsFault.MALFORMED, "the signature is not base64url") from None
    if not key.verify(signature, signing_input):
        raise JwsError(JwsFault.SIGNATURE, "the signature does not verify")
    try:
        payload = decode(payload_segment)
    except Base64UrlError:
        raise JwsError(JwsFault.MALFORMED, "the payload is not base64url") from None
    return header, payload, key


def unverified_header(token: str, *, max_length: int = MAX_TOKEN_LENGTH) -> Header:
    """Parse the header alone, to choose which key to try. Decides nothing else.

    Raises:
        JwsError: `MALFORMED`.
    """
    return _split(token, max_length)[0]


def unverified_payload(token: str, *, max_length: int = MAX_TOKEN_LENGTH) -> bytes:
    """Decode the payload alone, to choose which issuer's keys to try. Decides nothing else.

    Raises:
        JwsError: `MALFORMED`.
    """
    try:
        return decode(_split(token, max_length)[2])
    except Base64UrlError:
        raise JwsError(JwsFault.MALFORMED, "the payload is not base64url") from None


def _split(token: str, max_length: int) -> tuple[Header, bytes, bytes, bytes]:
    """Header, signing input, payload segment, signature segment."""
    if len(token) > max_length:
        raise JwsError(JwsFault.MALFORMED, f"the token is longer than {max_length} characters")
    try:
        data = token.encode("ascii")
    except UnicodeEncodeError:
        raise JwsError(JwsFault.MALFORMED, "the token is not ASCII") from None
    # Five segments are a JWE, a leading brace is a JSON serialization: neither is ours to read.
    segments = data.split(b".", 3)
    if len(segments) != 3:
        raise JwsError(JwsFault.MALFORMED, "the token has not three segments")
    header_segment, payload_segment, signature_segment = segments
    if len(header_segment) <= _MEMO_LENGTH:
        header = _remembered_header(header_segment)
    else:
        header = _parse_header(header_segment)
    return header, data[: len(data) - len(signature_segment) - 1], payload_segment, signature_segment


def _parse_header(segment: bytes) -> Header:
    try:
        members = parse_object(decode(segment))
    except Base64UrlError:
        raise JwsError(JwsFault.MALFORMED, "the header is not base64url") from None
    except StrictJsonError as error:
        raise JwsError(JwsFault.MALFORMED, f"the header is no acceptable JSON object: {error}") from None
    alg = members.get("alg")
    if not isinstance(alg, str):
        raise JwsError(JwsFault.MALFORMED, "alg is missing or no string")
    if "crit" in members:
        # RFC 7515 §4.1.11: what is critical and not understood is refused; we understand no extension.
        raise JwsError(JwsFault.MALFORMED, "crit names extensions that are not supported")
    if "b64" in members:
        # RFC 7797 §6 wants it in crit; without, others would read the payload another way.
        raise JwsError(JwsFault.MALFORMED, "b64 is not supported")
    if "enc" in members:
        raise JwsError(JwsFault.MALFORMED, "an encrypted token is not accepted")
    kid = members.get("kid")
    if "kid" in members and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH):
        raise JwsError(JwsFault.MALFORMED, "kid is no string of acceptable length")
    typ = members.get("typ")
    if "typ" in members and not isinstance(typ, str):
        raise JwsError(JwsFault.MALFORMED, "typ is no string")
    return Header(alg, kid, _media_type(typ), canonical_alg(alg), MappingProxyType(members))


_remembered_header = lru_cache(maxsize=256)(_parse_header)
"""An issuer's headers are few and come with every token. Refusals are not remembered."""


def _media_type(typ: str | None) -> str | None:
    if typ is None:
        return None
    lowered = typ.lower()
    bare = lowered.removeprefix("application/")
    # Only a type without a further slash may drop its prefix (RFC 7515 §4.1.9).
    return lowered if "/" in bare else bare
