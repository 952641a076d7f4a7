"""The refresh token's text: `prt1.<body>.<tag>` (format of ours; RFC 6749 §1.5 leaves it to the server).

Body: tag-key id (1 byte) ‖ family id (16 bytes) ‖ generation (4 bytes, big-endian) ‖ secret (32 random bytes).
Tag: the first 16 bytes of HMAC-SHA-256 under the tag key over `prt1.<body>`. Both in canonical base64url.
The tag lets a spent generation be recognized as ours without a stored row, and an invented one as
invented: nothing an attacker makes up ever reaches the store.

Does not check: whether the family exists, is live, or whose it is (`core.sessions.refresh`).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from portero.core.errors import RequestError
from portero.core.jose.algorithms import hmac_signer
from portero.core.jose.base64url import Base64UrlError, decode, encode
from portero.core.oauth.errors import invalid_grant
from portero.core.quick import quick
from portero.core.types import FamilyId, Secret

PREFIX: Final = "prt1."
SECRET_BYTES: Final = 32
FAMILY_ID_BYTES: Final = 16
MAX_GENERATION: Final = 2**32 - 1
"""A chain that long is at its end: the person signs in again."""

_TAG_BYTES: Final = 16
_BODY_BYTES: Final = 1 + FAMILY_ID_BYTES + 4 + SECRET_BYTES
_BODY_LENGTH: Final = 71
"""Characters of base64url for 53 bytes."""
_TAG_LENGTH: Final = 22
_TAG_AT: Final = len(PREFIX) + _BODY_LENGTH + 1
TOKEN_LENGTH: Final = _TAG_AT + _TAG_LENGTH
"""Characters. A text of any other length is not looked at."""


@quick
@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What an authentic text says: one generation of one family."""

    family_id: FamilyId
    generation: int
    secret: Secret[bytes]
    """32 bytes."""


@dataclass(frozen=True, slots=True)
class TagKey:
    """The tag key that tags now, with its id (0 to 255)."""

    id: int
    key: Secret[bytes]


def parse_refresh_token(text: Secret[str], *, tag_key: Callable[[int], Secret[bytes] | None]) -> RefreshToken:
    """Recognize a refresh token of ours.

    Args:
        text: what the client sent, of any length.
        tag_key: the tag key with that id, or None where there is none (any more).

    Returns:
        What the text says, its tag checked in constant time.

    Raises:
        RequestError: `invalid_grant` without a reason, the same for every cause. Nothing was committed.
    """
    token = text.reveal()
    # The length comes first: nothing is decoded or hashed for an enormous text.
    if len(token) != TOKEN_LENGTH or not token.startswith(PREFIX) or token[_TAG_AT - 1] != ".":
        raise _not_ours("it does not have the form of a refresh token")
    try:
        body = decode(token[len(PREFIX) : _TAG_AT - 1])
        tag = decode(token[_TAG_AT:])
    except Base64UrlError:
        raise _not_ours("it is not canonical base64url") from None
    key = tag_key(body[0])
    if key is None:
        raise _not_ours(f"there is no tag key with the id {body[0]}")
    if not hmac.compare_digest(tag, _tag(token[: _TAG_AT - 1], key)):
        raise _not_ours("its tag is not ours")
    return RefreshToken(
        FamilyId(body[1:17]),
        int.from_bytes(body[17:21], "big"),
        Secret(body[21:]),
    )


def render_refresh_token(token: RefreshToken, *, tag_key: TagKey) -> Secret[str]:
    """Render a token for the wire, tagged with the current tag key."""
    body = b"".join(
        (
            tag_key.id.to_bytes(1, "big"),
            token.family_id,
            token.generation.to_bytes(4, "big"),
            token.secret.reveal(),
        )
    )
    if len(body) != _BODY_BYTES:
        raise ValueError("a refresh token has a family id of 16 bytes and a secret of 32")
    signed = PREFIX + encode(body)
    return Secret(f"{signed}.{encode(_tag(signed, tag_key.key))}")


def _tag(signed: str, key: Secret[bytes]) -> bytes:
    return _mac_under(key.reveal())(signed.encode("ascii"))[:_TAG_BYTES]


# The keyed state is prepared once per key: a third of the time, and unlike `hmac.digest` it holds no other thread up.
_mac_under = lru_cache(maxsize=16)(hmac_signer)


def _not_ours(detail: str) -> RequestError:
    return invalid_grant("the refresh token is not valid", detail=f"refresh token refused: {detail}")
