"""Which language a page is in: what the request asks for, else what the browser prefers (RFC 9110 §12.5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MAX_HEADER = 256
"""Characters of `Accept-Language` that are looked at."""
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*")


def choose_language(*, ui_locales: Iterable[str], accept_language: str, offered: Sequence[str]) -> str:
    """Return one of `offered`; its first where nothing fits.

    Args:
        ui_locales: language tags in order of preference (OIDC Core §3.1.2.1); these come first.
        accept_language: the header, or an empty text.
        offered: two-letter languages, the default first.
    """
    for tag in (*ui_locales, *_preferred(accept_language[:_MAX_HEADER])):
        language = tag.partition("-")[0].lower()
        if language in offered:
            return language
    return offered[0]


def _preferred(header: str) -> list[str]:
    """Languages by falling weight; what weighs nothing is not wanted."""
    weighed: list[tuple[float, str]] = []
    for item in header.split(","):
        found = _RANGE.fullmatch(item)
        if found is not None:
            weight = 1.0 if found[2] is None else float(found[2])
            if weight > 0:
                weighed.append((-weight, found[1]))
    return [language for _, language in sorted(weighed, key=lambda entry: entry[0])]
