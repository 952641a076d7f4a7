"""Forms that only the browser they were given to can send back, from our own pages.

A form carries an HMAC keyed with the very cookie its browser holds: whoever does not know the
cookie cannot make the token, and there is no server secret to keep or to rotate. A second,
independent line is where the request says it comes from.

`Origin` alone does not do: our pages send `Referrer-Policy: no-referrer`, under which a
browser says `Origin: null` even to ourselves (Fetch §3.2). There `Sec-Fetch-Site` speaks.
"""

from __future__ import annotations

import hashlib
import hmac

from portero.core.errors import RequestError
from portero.core.jose import base64url
from portero.core.types import Secret


def form_token(cookie: Secret[str], *, purpose: str) -> str:
    """The token of a form, good for this cookie and this purpose only: 43 base64url characters."""
    return base64url.encode(
        hmac.digest(cookie.reveal().encode(), b"portero form\x00" + purpose.encode(), hashlib.sha256)
    )


def require_form_token(token: str | None, *, cookie: Secret[str], purpose: str) -> None:
    """Refuse a form that was not given to this browser.

    Raises:
        RequestError: `form_not_from_here` (a page, 403).
    """
    expected = form_token(cookie, purpose=purpose)
    if token is None or not hmac.compare_digest(token.encode(), expected.encode()):
        raise form_not_from_here("the form token is missing or not of this browser")


def require_own_origin(*, origin: str | None, fetch_site: str | None, own_origin: str) -> None:
    """Refuse a form that says it comes from another site.

    Args:
        origin: the `Origin` header; absent from some old browsers.
        fetch_site: the `Sec-Fetch-Site` header; `none` is a reload by the person.

    Raises:
        RequestError: `form_not_from_here` (a page, 403).
    """
    if origin not in (None, "null", own_origin) or fetch_site not in (None, "same-origin", "none"):
        raise form_not_from_here("Origin or Sec-Fetch-Site names another site")


def form_not_from_here(detail: str) -> RequestError:
    """The page that says that this form was not ours, or not this browser's."""
    return RequestError("form_not_from_here", "this form does not belong to this browser", status=403, detail=detail)
