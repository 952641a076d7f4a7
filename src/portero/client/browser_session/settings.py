"""What a browser session is told once, checked before it serves anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from portero.adapters.fetch.requests import ForbiddenUrl, checked_url
from portero.client.browser_session.sealing import SHORTEST_SECRET
from portero.core.errors import ConfigurationError, RequestError
from portero.core.policy.path import normal_path
from portero.core.types import Secret

CLAIMS = ("name", "preferred_username", "email", "locale", "roles", "auth_time", "acr", "amr")
"""What a page may learn of the person unless told otherwise, beside `sub`. Never `sid` or the token itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A confidential client of one authorization server, on one origin.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    issuer: str
    """The authorization server, exactly as it names itself."""
    client_id: str
    client_secret: Secret[str]
    origin: str
    """Where the page is, as a browser writes it: `https://shop.example`. Never taken from a request."""
    secrets: tuple[Secret[str], ...]
    """Seal cookies and stored tokens: at least 32 random characters each, alike in all processes. The first one
    seals, all of them open: to change it, put the new one in front and take the old one away after `longest`."""
    scope: str = "openid"
    base: str = "/session"
    """Where the sign-in, sign-out and session endpoints are."""
    upstreams: Mapping[str, str] = field(default_factory=dict)
    """The allow-list: path on this origin → service. `{"/api/orders": "http://orders:8101/orders"}` sends
    `/api/orders/7` to `/orders/7`. What is not below one of them is not passed on."""
    claims: tuple[str, ...] = CLAIMS
    """Claims of the ID token and of userinfo that the page may see."""
    longest: timedelta = timedelta(days=30)
    """How long the cookie lives where the server does not say when the session ends."""

    def __post_init__(self) -> None:
        url = _checked("issuer", self.issuer)
        if url.query or url.fragment:
            raise ConfigurationError("issuer", self.issuer, "an issuer has no query and no fragment (RFC 8414 §2)")
        if not self.client_id:
            raise ConfigurationError("client_id", self.client_id, "it is the name the server knows this application by")
        if not self.client_secret.reveal():
            raise ConfigurationError("client_secret", "", "a browser session is a confidential client (RFC 10017 §6.1)")
        origin = _checked("origin", self.origin)
        if self.origin != f"{origin.scheme}://{origin.netloc}" or self.origin != self.origin.lower():
            raise ConfigurationError("origin", self.origin, "it is scheme, host and port only, in lower case")
        if not self.secrets or any(len(secret.reveal()) < SHORTEST_SECRET for secret in self.secrets):
            raise ConfigurationError(
                "secrets", "(secret)", f"at least one, and each has at least {SHORTEST_SECRET} random characters"
            )
        if "openid" not in self.scope.split():
            raise ConfigurationError("scope", self.scope, "it has openid in it: the ID token says who signed in")
        _check_place("base", self.base)
        for place, target in self.upstreams.items():
            _check_place("upstreams", place)
            if place == self.base or place.startswith(self.base + "/"):
                raise ConfigurationError("upstreams", place, f"it lies below {self.base}, which is our own")
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise ConfigurationError("upstreams", target, "it is an http or https URL without query and fragment")
        if self.longest <= timedelta(0):
            raise ConfigurationError("longest", self.longest, "must be more than 0 seconds")

    @property
    def secure(self) -> bool:
        """Whether the page is on https. Plain http is for this machine only, where cookies have no `__Host-`."""
        return self.origin.startswith("https:")

    @property
    def redirect_uri(self) -> str:
        """What has to be registered as this client's redirect URI."""
        return f"{self.origin}{self.base}/callback"


def _checked(setting: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(checked_url(url))
    except ForbiddenUrl as error:
        raise ConfigurationError(setting, url, "must be an https URL, or http on this machine") from error
    return parts


def _check_place(setting: str, place: str) -> None:
    try:
        normal = normal_path(place.encode())
    except RequestError as error:
        raise ConfigurationError(setting, place, f"it is a path such as /session: {error.description}") from error
    if normal != place or place.endswith("/"):
        raise ConfigurationError(setting, place, "it is a path such as /session, with no slash at its end")
