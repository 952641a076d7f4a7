"""The manifest's `[gateway]` and what a service says for the gateway alone: values, with their defaults.

Both engines read these; what an engine cannot do it says when it starts, and never leaves out in silence.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

KEYS_PATH = "/.well-known/portero-gateway/jwks.json"
"""Where a gateway publishes the keys of its assertions, on its own listener."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The listener's certificate."""

    certificate: str
    """File name of the chain, PEM."""
    key: str
    """File name of the private key, PEM."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request or one client may be. What is above is refused: 431, 413, 503."""

    header_bytes: int = 32_768
    """The request line and all headers together."""
    headers: int = 100
    body_bytes: int = 10 * 1024 * 1024
    """Of a request; 0: no limit."""
    connections: int = 10_000
    connections_per_client: int = 0
    """0: no limit."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase may take. A gateway without one is a gateway that somebody holds open."""

    headers: timedelta = timedelta(seconds=10)
    """From the connection, or the first byte of the next request, to the end of the headers: 408."""
    request: timedelta = timedelta(seconds=60)
    """To the end of the request's body: 408."""
    connect: timedelta = timedelta(seconds=2)
    """To a connection with an upstream: 504."""
    response: timedelta = timedelta(seconds=30)
    """From the end of the request to the end of the answer, unless the route is a stream: 504."""
    idle: timedelta = timedelta(seconds=60)
    """A kept-alive connection without a request."""
    stream_idle: timedelta = timedelta(minutes=5)
    """A stream on which nothing moves."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds; as many at once."""

    requests: int
    seconds: int


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Refused with 429 above it; `None`: no limit."""

    per_client: Rate | None = None
    """Of one network address."""
    per_subject: Rate | None = None
    """Of one verified subject."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """Which cookie carries the token, on routes that accept one (`core.policy.cookie_credential`)."""

    origins: tuple[str, ...]
    name: str = "__Host-portero-access"
    header: str = "x-portero"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway listens, under which prefix it shows each service, and its limits."""

    listen: str
    prefix: Mapping[str, str] = field(default_factory=dict)
    """Service → normal path without a slash at its end; taken off before the request is sent on."""
    issuer: str = ""
    """`iss` of the gateway's assertions; empty: `origin`."""
    jwks_uri: str = ""
    """Where services fetch the keys of the assertions; empty: `KEYS_PATH` at the issuer."""
    keys_file: str = "portero-gateway.keys"
    """Private keys of the assertions; beside the manifest unless absolute."""
    admin: str = "127.0.0.1:9100"
    """Where `/livez`, `/readyz` and `/metrics` are."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose `X-Forwarded-*` are believed."""
    workers: int = 1
    drain: timedelta = timedelta(seconds=10)
    retries: int = 1
    otlp: str = ""
    """Origin of an OpenTelemetry collector; empty: no spans."""
    tls: Tls | None = None
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    rate_limits: RateLimits = RateLimits()

    @property
    def origin(self) -> str:
        """Where the gateway is reached on this machine."""
        host, _, port = self.listen.rpartition(":")
        return f"{'https' if self.tls else 'http'}://{host}:{port}"

    @property
    def assertion_issuer(self) -> str:
        """`iss` of the assertions."""
        return self.issuer or self.origin

    @property
    def assertion_keys(self) -> str:
        """Where a service finds the keys of the assertions."""
        return self.jwks_uri or self.assertion_issuer.rstrip("/") + KEYS_PATH

    @property
    def is_local(self) -> bool:
        """Whether `listen` names this machine alone, so that `origin` is good as an issuer."""
        return is_loopback(self.listen.rpartition(":")[0])


def is_loopback(host: str) -> bool:
    """Whether a host, perhaps in brackets, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def rate_of(text: str) -> Rate:
    """Read `100/s`, `600/m` (the shape was checked)."""
    requests, _, unit = text.partition("/")
    return Rate(int(requests), 60 if unit == "m" else 1)
