"""base64url without padding, in its one canonical spelling (RFC 7515 §2, RFC 4648 §5, §3.5).

Every byte string has exactly one text here. A decoder that accepts more lets the same
token appear under many spellings, and whatever is keyed by a token's text (a cache, a
log search) can be walked around.
"""

from __future__ import annotations

import binascii
from typing import Final

_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
"""`+`, `/` and `=` become a byte the strict decoder refuses."""
_MINUS, _UNDERSCORE, _PLUS, _SLASH, _EQUALS = b"-_+/="
_FROM_STANDARD: Final = bytes.maketrans(b"+/", b"-_")
_PADDING: Final = (b"", b"", b"==", b"=")
_LAST_OF_TWO: Final = frozenset(b"AQgw")
"""Last characters whose four spare bits are zero (RFC 4648 §3.5)."""
_LAST_OF_THREE: Final = frozenset(b"AEIMQUYcgkosw048")
"""Last characters whose two spare bits are zero."""


class Base64UrlError(ValueError):
    """The text is not canonical base64url. Never quotes the text: it may be a secret."""


def encode(data: bytes) -> str:
    """Render bytes as canonical base64url text, no padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_FROM_STANDARD).decode("ascii")


def decode(text: str | bytes) -> bytes:
    """Decode canonical base64url text.

    Args:
        text: ASCII; padding, whitespace, `+`, `/`, other characters and spare bits that
            are not zero are refused. May be empty.

    Raises:
        Base64UrlError: the text is anything but the one spelling of its bytes.
    """
    if isinstance(text, str):
        try:
            text = text.encode("ascii")
        except UnicodeEncodeError:
            raise Base64UrlError("base64url is ASCII") from None
    tail = len(text) & 3
    if tail:
        if tail == 1:
            raise Base64UrlError("no base64url text has this length")
        if text[-1] not in (_LAST_OF_TWO if tail == 2 else _LAST_OF_THREE):
            raise Base64UrlError("spare bits of base64url are not zero")
    # Five searches cost a quarter of one translation, and ASCII JSON is seldom spelled with any of these.
    if _MINUS in text or _UNDERSCORE in text or _PLUS in text or _SLASH in text or _EQUALS in text:
        text = text.translate(_TO_STANDARD)
    try:
        return binascii.a2b_base64(text + _PADDING[tail] if tail else text, strict_mode=True)
    except binascii.Error:
        raise Base64UrlError("a character outside the base64url alphabet") from None
