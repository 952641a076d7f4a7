"""What a browser on another origin must be told, refusals included (Fetch §3.3 "CORS protocol").

Without these headers on a 401 the page sees a network error, never the challenge, and no
refresh ever starts. Preflights are answered before authentication: they carry no token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from portero.core.errors import ConfigurationError

Header = tuple[str, str]

EXPOSED = "WWW-Authenticate, Retry-After, Date, DPoP-Nonce"
"""What a page may read of a response beyond the safelisted headers."""
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_REQUEST_HEADERS = "authorization, content-type, dpop"
_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """Which origins may call, compared exactly as serialized (`https://shop.example`, no path).

    No wildcard and no pattern: an origin that is not listed gets no CORS header at all, which
    is how a browser is told no.
    """

    origins: frozenset[str] = frozenset()
    credentials: bool = False
    """Whether cookies may come along (`Access-Control-Allow-Credentials`)."""
    max_age: int = 600
    """Seconds a browser may remember a preflight's answer."""

    @classmethod
    def for_origins(cls, origins: Iterable[str], *, credentials: bool = False) -> CorsPolicy:
        """Validate and keep the origins.

        Raises:
            ConfigurationError: an entry is not a serialized origin.
        """
        listed = frozenset(origins)
        for origin in listed:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or origin != f"{parts.scheme}://{parts.netloc}"
                or not parts.netloc
            ):
                raise ConfigurationError("cors_origins", origin, "must be an origin such as https://shop.example")
        return cls(origins=listed, credentials=credentials)

    def allows(self, origin: str | None) -> bool:
        """Whether a page of `origin` may read our answers."""
        return origin is not None and origin in self.origins

    def response_headers(self, origin: str | None) -> tuple[Header, ...]:
        """The headers of any answer, refusals included. Empty where no origin is configured."""
        if not self.origins:
            return ()
        vary = ("vary", "Origin")
        if origin is None or origin not in self.origins:
            return (vary,)
        headers: tuple[Header, ...] = (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", EXPOSED),
            vary,
        )
        if self.credentials:
            headers += (("access-control-allow-credentials", "true"),)
        return headers

    def preflight_headers(self, origin: str | None, *, requested_headers: str = "") -> tuple[Header, ...]:
        """The headers of a preflight's answer (status 204). An origin not listed gets none that allow."""
        headers = self.response_headers(origin)
        if not self.allows(origin):
            return (*headers, ("content-length", "0"))
        return (
            *headers,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", _allowed_headers(requested_headers)),
            ("access-control-max-age", str(self.max_age)),
            ("content-length", "0"),
        )


def is_preflight(method: str, origin: str | None, requested_method: str | None) -> bool:
    """Whether a request is a CORS preflight (Fetch §3.3.2): it asks, it never does."""
    return method == "OPTIONS" and origin is not None and requested_method is not None


def _allowed_headers(requested: str) -> str:
    # A listed origin may send any header name; only well-formed names are said back.
    names = [name.strip().lower() for name in requested.split(",")]
    asked = [name for name in names if name and set(name) <= _TOKEN_CHARACTERS]
    extra = [name for name in dict.fromkeys(asked) if name not in _REQUEST_HEADERS.split(", ")]
    return ", ".join([_REQUEST_HEADERS, *extra[:32]])
