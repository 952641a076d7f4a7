"""Token Status Lists: a bit per device session, in lists that anybody may fetch (draft-ietf-oauth-status-list-21).

For strangers' verifiers, which know nothing of the feed: slower (as old as the list they cached), and one list serves
a hundred thousand sessions. An index is given out once, to one device session, and never again; its bit is set when
the session has ended. What is taken back by `jti`, `client_id` or `kid` alone is in the feed and not here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Final

from portero.core.jose.base64url import encode
from portero.core.types import Issuer, NumericDate

TYP: Final = "statuslist+jwt"
MEDIA_TYPE: Final = "application/statuslist+jwt"
LIST_SIZE: Final = 2**17
"""Sessions per list: 16 KiB of bits, a few hundred bytes compressed while few have ended (§12.2: large, so that a
fetch tells little of whose token is looked at)."""
TTL: Final = 60
"""Seconds a verifier may use what it fetched before it fetches again."""
LIFETIME: Final = 600
"""Seconds until `exp`: a verifier that cannot fetch for longer knows nothing any more."""
COUNTER: Final = "status_list"
"""The counter whose value is the next index that was never given out."""


def status_claim(index: int, *, base: str) -> dict[str, Any]:
    """The `status` claim of a token of the session with this index (§6.1).

    Args:
        base: the URL under which the lists are, without trailing slash.
    """
    number, idx = divmod(index, LIST_SIZE)
    return {"status_list": {"idx": idx, "uri": list_uri(number, base=base)}}


def list_uri(number: int, *, base: str) -> str:
    """Where a list is: its `sub`, and the `uri` in tokens."""
    return f"{base}/{number}"


def list_claims(number: int, ended: Iterable[int], *, issuer: Issuer, base: str, now: NumericDate) -> dict[str, Any]:
    """The claims of a list as of now (§5.1).

    Args:
        number: which list.
        ended: the indexes of ended sessions that are in it.
    """
    return {
        "iss": issuer,
        "sub": list_uri(number, base=base),
        "iat": now,
        "exp": now + LIFETIME,
        "ttl": TTL,
        "status_list": {"bits": 1, "lst": compressed(index - number * LIST_SIZE for index in ended)},
    }


def compressed(set_bits: Iterable[int]) -> str:
    """The byte array in zlib form: index `i` is bit `i % 8`, from the least significant, of byte `i // 8` (§4.1)."""
    array = bytearray(LIST_SIZE // 8)
    for index in set_bits:
        array[index >> 3] |= 1 << (index & 7)
    return encode(zlib.compress(bytes(array), 9))
