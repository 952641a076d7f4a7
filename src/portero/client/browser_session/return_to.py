"""Where a person comes back to: an address of our own origin, or the front page."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

LONGEST: Final = 1024
"""Characters: it travels in a cookie."""
_SAFE: Final = "/?:@!$&'()*+,;=-._~%#[]"


def safe_return_to(value: str | None, *, origin: str) -> str:
    """Return path, query and fragment of `value` where it leads to `origin`; else `/`.

    What browsers and parsers read differently is not repaired: controls, backslashes, user info.
    """
    if not value or len(value) > LONGEST or value.startswith("//") or re.search(r"[\x00-\x20\x7f\\]", value):
        return "/"
    try:
        url = urlsplit(urljoin(origin + "/", value))
    except ValueError:
        return "/"
    if f"{url.scheme}://{url.netloc}" != origin or url.path.startswith("//"):
        return "/"
    rest = f"{url.path or '/'}{'?' + url.query if url.query else ''}{'#' + url.fragment if url.fragment else ''}"
    return quote(rest, safe=_SAFE)
