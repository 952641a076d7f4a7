"""One normal form for the path of a request, shared by everything that matches (design §3.4).

Two requests have the same normal form exactly when a server that decodes the path once sees the
same path in both, so that whoever decides and whoever serves cannot mean two resources. What
programs are known to read differently is refused, never repaired. What is sent on is the normal
form itself.

The rules (decision 0120), on the undecoded path, without query:

1. It begins with one `/` and is at most `MAX_PATH_BYTES` long.
2. It is visible ASCII; `%` begins an octet of two hex digits; no `#`, `?` or backslash.
3. No octet stands for `/` or a backslash, for a control character, or for what is not UTF-8.
4. Decoded once, nothing in it looks like an encoded octet (double encoding).
5. No segment is empty but the last; none is `.` or `..`, not before a `;` either.
6. Every character of `PLAIN` is written as itself, every other as UTF-8 octets with upper-case
   hex digits (RFC 3986 §2.1, §6.2.2). `;` is not plain: some servers cut a segment there.

Letters are never folded and Unicode is never recomposed: `/A` and `/a` are two paths.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from portero.core.errors import RequestError

MAX_PATH_BYTES: Final = 8192
PLAIN: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@"
"""RFC 3986 §3.3 pchar without `;`: what stands for itself in a segment."""


class AmbiguousPath(RequestError):
    """A path that two programs could read differently: 400. `description` names the rule, not the path."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_request", description)


def normal_path(raw: bytes) -> str:
    """Bring an undecoded path into the normal form. Applied to its own result it changes nothing.

    Args:
        raw: the path as it came over the wire, without query.

    Raises:
        AmbiguousPath: a rule is broken.
    """
    if len(raw) <= MAX_PATH_BYTES and _ALREADY_NORMAL.fullmatch(raw) is not None:
        return raw.decode("ascii")
    _refuse_octets(raw)
    decoded = unquote_to_bytes(raw)
    _refuse_decoded(decoded)
    for segment in decoded.split(b"/"):
        if segment.split(b";", 1)[0] in (b".", b".."):
            raise AmbiguousPath("The path has a dot segment.")
    if b"//" in decoded:
        raise AmbiguousPath("The path has an empty segment.")
    return quote_from_bytes(decoded, safe=_SAFE)


def split_target(target: bytes) -> tuple[bytes, bytes | None]:
    """Split a request target of the origin form (RFC 9112 §3.2.1) into path and query (`None`: no `?`).

    Raises:
        AmbiguousPath: another form, or a fragment, which has no place in a request.
    """
    if not target.startswith(b"/"):
        raise AmbiguousPath("The request target does not begin with a slash.")
    if b"#" in target:
        raise AmbiguousPath("The request target has a fragment.")
    path, mark, query = target.partition(b"?")
    return path, query if mark else None


def segments_of(normal: str) -> tuple[str, ...]:
    """The segments of a normal path. A slash at the end adds none: `/orders/` is decided as `/orders`."""
    return tuple(normal.strip("/").split("/")) if normal != "/" else ()


_SAFE: Final = "/" + PLAIN
_INNER: Final = re.escape(PLAIN).encode()
_FIRST: Final = re.escape(PLAIN.replace(".", "")).encode()
# Every segment begins with something other than a dot: the usual path, decided by one look.
_ALREADY_NORMAL: Final = re.compile(
    rb"/(?:[" + _FIRST + rb"][" + _INNER + rb"]*/)*(?:[" + _FIRST + rb"][" + _INNER + rb"]*)?"
)
_OCTET: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_NOT_VISIBLE: Final = re.compile(rb"[^\x21-\x7e]")


def _refuse_octets(raw: bytes) -> None:
    if not raw.startswith(b"/"):
        raise AmbiguousPath("The path does not begin with a slash.")
    if len(raw) > MAX_PATH_BYTES:
        raise AmbiguousPath(f"The path is longer than {MAX_PATH_BYTES} bytes.")
    if _NOT_VISIBLE.search(raw) is not None:
        raise AmbiguousPath("The path has a character that must be percent-encoded.")
    if b"#" in raw or b"?" in raw:
        raise AmbiguousPath("The path has a delimiter of another part of the URL.")
    if raw.count(b"%") != len(_OCTET.findall(raw)):
        raise AmbiguousPath("The path has a percent sign that begins no octet.")
    if b"\\" in raw:
        raise AmbiguousPath("The path has a backslash.")
    for octet in _OCTET.findall(raw):
        if octet.lower() in (b"%2f", b"%5c"):
            raise AmbiguousPath("The path has an encoded slash or backslash.")


def _refuse_decoded(decoded: bytes) -> None:
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise AmbiguousPath("The path is not UTF-8.") from None
    if any(char < " " or "\x7f" <= char <= "\x9f" for char in text):
        raise AmbiguousPath("The path has a control character.")
    if _OCTET.search(decoded) is not None:
        raise AmbiguousPath("The path is encoded twice.")
