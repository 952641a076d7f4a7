"""A fetch as a value, so that a conversation can be a generator with a sync and an async driver.

A generator yields `FetchRequest`s and is sent `Fetched` answers; `adapters.fetch.http` has
both drivers. The limits hold for every fetch of the room: what we read from an issuer is
small, comes over TLS (or from this machine), and never redirects us elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from portero.core.errors import Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """One request. `headers` and `form` may hold credentials: they are kept out of the repr."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str | list[str]] | None = field(default=None, repr=False)
    """Sent as `application/x-www-form-urlencoded` with POST, a list as one field many times; `None`: GET."""
    body: bytes | None = field(default=None, repr=False)
    """Sent with POST as it is, in place of a form; `headers` say what it is."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One answer, whole and within the size limit. A status of any kind, never a redirect followed."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)


Conversation = Generator[FetchRequest | None, Fetched, T]
"""Yields requests, is sent answers, returns what it learned; raises `Unavailable` when it cannot. `None` is a breath
between two pieces of work: a driver on an event loop lets everybody else go first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may cost."""

    max_bytes: int = 512 * 1024
    """Size of a body. Read no further than that, whatever Content-Length says."""
    timeout: float = 5.0
    """Seconds for the whole exchange, not for each read of it."""


class ForbiddenUrl(Unavailable):
    """The URL is of a kind that is never fetched."""


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_url(url: str, *, expected_same_machine: bool = True) -> str:
    """Return the URL when it may be fetched: https, or http on this machine.

    Args:
        url: absolute.
        expected_same_machine: False where whoever named the URL is not on this machine
            itself: a document from the network must not send us to a loopback service.

    Raises:
        ForbiddenUrl: another scheme, plain http over a network, user info, or no host.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ForbiddenUrl("a URL that cannot be read is not fetched") from error
    if not host or parts.username is not None or parts.password is not None:
        raise ForbiddenUrl("a URL without host or with user info is not fetched")
    if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        raise ForbiddenUrl("a URL with raw spaces or controls is not fetched")
    loopback = is_loopback(url)
    if loopback and not expected_same_machine:
        raise ForbiddenUrl(f"{parts.scheme}://{host} is this machine, and the issuer is not")
    if parts.scheme == "https" or (parts.scheme == "http" and loopback):
        return url
    raise ForbiddenUrl(f"{parts.scheme}://{host} is not fetched: only https, or http on this machine")
