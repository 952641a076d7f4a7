"""A cookie as the carrier of the access token: only where it is wanted, and never across sites.

A browser attaches cookies by itself, to requests of other sites' pages too. So a cookie counts
only on a route that says so, only from a page of a listed origin (compared whole), and, on
anything but a WebSocket handshake, only beside a header that a page of another site cannot send
without asking first (Fetch §3.3 "CORS protocol").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from portero.core.errors import ConfigurationError
from portero.core.policy.cors import CorsPolicy
from portero.core.policy.refusal import NO_TOKEN, Refusal, two_tokens

HeaderOf = Callable[[str], str | None]
"""Finds a request header by its name in lower case; several are joined as HTTP joins them."""
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


@dataclass(frozen=True, slots=True)
class CookieCredential:
    """Which cookie holds the access token, and who may use it.

    Args:
        origins: the pages' origins, such as `https://shop.example`.
        name: of the cookie. `__Host-` means: of this host only, over https only (RFC 6265bis §4.1.3.2).
        header: must be present on every request that is no WebSocket handshake; its value says nothing.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    origins: Iterable[str]
    name: str = "__Host-portero-access"
    header: str = "x-portero"
    _policy: CorsPolicy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        policy = CorsPolicy.for_origins(self.origins)
        if not policy.origins:
            raise ConfigurationError("cookie.origins", self.origins, "must name at least one origin")
        object.__setattr__(self, "_policy", policy)
        for setting, value in (("cookie.name", self.name), ("cookie.header", self.header)):
            if not _TOKEN.match(value):
                raise ConfigurationError(setting, value, "must be a name of letters, digits and !#$%&'*+-.^_`|~")
        object.__setattr__(self, "header", self.header.lower())

    def token_of(self, header: HeaderOf, *, websocket: bool) -> bytes | Refusal:
        """Read the token out of the cookie.

        Returns:
            The token's bytes; `NO_TOKEN` where there is no cookie or it does not count; a
            refusal of two.
        """
        values = [
            value
            for name, _, value in (pair.strip(" \t").partition("=") for pair in (header("cookie") or "").split(";"))
            if name == self.name
        ]
        if not values or not self.is_from_our_page(header, websocket=websocket):
            return NO_TOKEN
        if len(values) > 1:
            # Another host of the same site may have set one of them.
            return two_tokens("the cookie is repeated")
        return values[0].encode("latin-1", "replace") or NO_TOKEN

    def is_from_our_page(self, header: HeaderOf, *, websocket: bool) -> bool:
        """Whether a page of another origin cannot have made this request."""
        origin = header("origin")
        if websocket:
            # A handshake always carries Origin, and needs no preflight (RFC 6455 §10.2).
            return self._policy.allows(origin)
        if header(self.header) is None:
            return False
        if origin is None:
            # A browser sends no Origin with a GET to the page's own origin; no page can set this header.
            return header("sec-fetch-site") == "same-origin"
        return self._policy.allows(origin)
