"""Redirect URIs: exact match (RFC 9700 §2.1), the loopback exception (RFC 8252 §7.3), and their CSP source.

What may be registered is decided where clients are registered; what is refused here is
refused a second time on purpose, because a redirect to `javascript:` is an executed script.
"""

from __future__ import annotations

import re

from portero.core.transitions import ClientType

_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(/[^\s#]*)?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[\x21-\x7e]*")
"""Any URI: visible ASCII (RFC 3986 §2), so that it fits a header as it stands."""
_HTTP_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?=[/?]|$)")
_INSECURE_SCHEMES = frozenset({"javascript", "data", "vbscript", "blob", "file", "about", "filesystem", "view-source"})


def matches_registered(redirect_uri: str, *, registered: str, client_type: ClientType) -> bool:
    """Say whether the requested URI is the registered one.

    Simple string comparison (RFC 3986 §6.2.1). For public clients on a loopback IP literal the
    port may differ: a native app takes whatever the system gives it (RFC 8252 §7.3). `localhost`
    is not covered: it may resolve elsewhere (§8.3).
    """
    if not has_safe_scheme(redirect_uri) or "#" in redirect_uri:
        return False
    if redirect_uri == registered:
        return True
    if client_type is not ClientType.PUBLIC:
        return False
    ours, theirs = _LOOPBACK.fullmatch(registered), _LOOPBACK.fullmatch(redirect_uri)
    return ours is not None and theirs is not None and ours.groups() == theirs.groups()


def has_safe_scheme(uri: str) -> bool:
    """Say whether a browser that follows the URI leaves for a place, and does not run it as a script."""
    scheme = _SCHEME.fullmatch(uri)
    return scheme is not None and scheme[1].lower() not in _INSECURE_SCHEMES


def csp_source(uri: str) -> str | None:
    """The narrowest Content-Security-Policy source that covers the URI (CSP3 §2.3.1), or None.

    A host source cannot name an IPv6 literal or an app's own scheme; there it is the scheme.
    """
    origin = _HTTP_ORIGIN.match(uri)
    if origin is not None:
        return origin[0]
    scheme = _SCHEME.match(uri)
    return None if scheme is None or not has_safe_scheme(uri) else f"{scheme[1].lower()}:"
