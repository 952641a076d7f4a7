"""How a client session is configured. Read once, when the session is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from ssl import SSLContext
from urllib.parse import urlsplit

from portero.adapters.fetch.requests import ForbiddenUrl, checked_url
from portero.core.errors import ConfigurationError
from portero.core.types import Secret

Origin = tuple[str, str, int]
"""Scheme, host and port."""

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Seconds. What each trades: a shorter `refresh` gives up on slow networks; a shorter `lock` sends more equal
    refreshes; `superseded` must be longer than the server's window."""

    refresh: float = 10.0
    """For one request to the authorization server."""
    lock: float = 5.0
    """For another process that refreshes at this moment."""
    superseded: float = 11.0
    """The server's soft window, and one second."""


@dataclass(frozen=True, slots=True)
class Config:
    """One client of one authorization server."""

    issuer: str
    """The authorization server, exactly as it names itself."""
    client_id: str
    allowed_origins: tuple[str, ...] = ()
    """Who gets the token, as origins (`https://api.example`). Nobody else does; without any, nobody at all."""
    scope: str | None = None
    """Space-separated; what to ask for."""
    resources: tuple[str, ...] = ()
    """Resource indicators (RFC 8707): the services the token is for."""
    client_secret: Secret[str] | None = None
    """Of a confidential client; a program that runs on people's machines has none."""
    client_credentials: bool = False
    """The program acts for itself (RFC 6749 §4.4): no person, no refresh token, a new token when one is needed."""
    account: str = ""
    """A name for one of several accounts on one machine. They know nothing of each other."""
    dpop: bool = False
    """Bind the tokens to a key of this session (RFC 9449). Server and services must know DPoP."""
    replay_unsafe: bool = False
    """Repeat POST, PUT, PATCH and DELETE after a 401 *without* a challenge too. Only if your services never act."""
    ssl_context: SSLContext | None = None
    """For the connection to the authorization server; None: the system's trust."""
    limits: ClientLimits = field(default_factory=ClientLimits)

    def __post_init__(self) -> None:
        try:
            checked_url(self.issuer)
        except ForbiddenUrl as error:
            raise ConfigurationError("issuer", self.issuer, str(error)) from None
        if not self.client_id:
            raise ConfigurationError("client_id", self.client_id, "it is the name the server knows this program by")
        if self.client_credentials and self.client_secret is None:
            raise ConfigurationError("client_secret", None, "a program that acts for itself needs its secret")
        for origin in self.allowed_origins:
            origin_of(origin)

    @property
    def origins(self) -> frozenset[Origin]:
        """The allowed origins, parsed."""
        return frozenset(origin_of(origin) for origin in self.allowed_origins)

    @property
    def name(self) -> str:
        """Issuer, client and account: what keeps two sessions of one machine apart in every name."""
        return f"portero|{self.issuer}|{self.client_id}|{self.account}"


def origin_of(url: str) -> Origin:
    """Parse the origin of an http or https URL: never compared as text, where one can be the beginning of another.

    Raises:
        ConfigurationError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in _PORTS or not host or parts.username is not None:
        raise ConfigurationError("allowed_origins", url, "an origin looks like https://api.example")
    return parts.scheme, host, port or _PORTS[parts.scheme]
