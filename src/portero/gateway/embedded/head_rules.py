"""What each request header means to the gateway: one look at its name, learnt once (RFC 9110 §7, design §3.6).

Names that could carry an identity are dropped in every disguise (`core.policy.identity_headers`);
those the gateway reads are told apart; all others pass. The table grows by the names clients use,
up to a bound; past it a name is looked at anew each time.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from portero.core.policy.identity_headers import is_stripped


class Kind(IntEnum):
    """What is done with a header."""

    PASS = 0
    DROP = 1
    HOST = 2
    AUTHORIZATION = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    CONNECTION = 6
    EXPECT = 7
    UPGRADE = 8
    REQUEST_ID = 9
    TRACEPARENT = 10
    FORWARDED_FOR = 11
    DPOP = 12
    COOKIE = 13
    READ = 14
    """Passed on, and read by the gateway too."""
    REFUSED = 15
    """A name some servers read as another one: 400."""


MOST_NAMES: Final = 4096

_KINDS: Final = {
    b"host": Kind.HOST,
    b"authorization": Kind.AUTHORIZATION,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
    b"connection": Kind.CONNECTION,
    b"expect": Kind.EXPECT,
    b"upgrade": Kind.UPGRADE,
    b"x-request-id": Kind.REQUEST_ID,
    b"traceparent": Kind.TRACEPARENT,
    b"x-forwarded-for": Kind.FORWARDED_FOR,
    b"dpop": Kind.DPOP,
    b"cookie": Kind.COOKIE,
    b"origin": Kind.READ,
    b"access-control-request-method": Kind.READ,
    b"access-control-request-headers": Kind.READ,
    b"sec-fetch-site": Kind.READ,
    b"sec-websocket-key": Kind.READ,
    b"sec-websocket-protocol": Kind.READ,
    # Hop by hop (RFC 9110 §7.6.1); what `Connection` names is dropped beside them.
    b"keep-alive": Kind.DROP,
    b"proxy-connection": Kind.DROP,
    b"proxy-authorization": Kind.DROP,
    b"proxy-authenticate": Kind.DROP,
    b"te": Kind.DROP,
    b"http2-settings": Kind.DROP,
}

NAMES: Final[dict[bytes, int]] = {}
"""Name as a client spelled it → `Kind`."""


def kind_of(name: bytes) -> int:
    """Classify a name that is not in `NAMES` yet, and keep the answer there."""
    lower = name.lower()
    kind = _KINDS.get(lower)
    if kind is None:
        if b"_" in lower:
            kind = Kind.REFUSED
        elif is_stripped(lower):
            kind = Kind.DROP
        else:
            kind = Kind.PASS
    if len(NAMES) < MOST_NAMES and len(name) <= 64:
        NAMES[name] = int(kind)
    return int(kind)


HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip
NOT_IN_TRAILERS: Final = HOP_BY_HOP | {
    b"authorization", b"content-length", b"content-encoding", b"content-range", b"content-type", b"cookie", b"dpop",
    b"expect", b"host", b"max-forwards", b"set-cookie", b"trailer", b"www-authenticate", b"x-request-id",
    b"traceparent",
}  # fmt: skip
"""RFC 9110 §6.5.1: what frames, routes or authenticates a message is no trailer."""


def may_trail(name: bytes) -> bool:
    """Whether a trailer field of this name is passed on."""
    lower = name.lower()
    return lower not in NOT_IN_TRAILERS and b"_" not in lower and not is_stripped(lower)


def without(lines: list[bytes], named: set[bytes]) -> list[bytes]:
    """A head's lines but for those that `Connection` names (RFC 9110 §7.6.1).

    Args:
        lines: four pieces a line: name, colon, value, end.
        named: what it names, in lower case.
    """
    kept: list[bytes] = []
    for place in range(0, len(lines), 4):
        if lines[place].lower() not in named:
            kept += lines[place : place + 4]
    return kept
