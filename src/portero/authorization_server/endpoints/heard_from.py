"""From where a request of the back channel comes: a coarse place for people, and what limits count by."""

from __future__ import annotations

from functools import lru_cache

from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.sign_in.address import Address, client_address, limiting_key
from portero.core.sessions.device_name import coarse_place


def place_of(request: Request, *, trusted_proxies: tuple[str, ...]) -> str:
    """A network prefix, for display; never a full address."""
    return _place_of(*_heard_from(request, trusted_proxies))


def source_of(request: Request, *, trusted_proxies: tuple[str, ...]) -> str:
    """What limits count by."""
    return _source_of(*_heard_from(request, trusted_proxies))


def address_of(request: Request, *, trusted_proxies: tuple[str, ...]) -> Address | None:
    """The address itself, for what is done over it at once; never to be stored."""
    peer, forwarded_for, proxies = _heard_from(request, trusted_proxies)
    return client_address(peer, forwarded_for=forwarded_for, trusted_proxies=proxies)


def _heard_from(
    request: Request, trusted_proxies: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    forwarded = tuple(
        value.decode("latin-1") for name, value in request.unverified_headers if name == b"x-forwarded-for"
    )
    return request.peer, forwarded if trusted_proxies else (), trusted_proxies


@lru_cache(maxsize=4096)
def _place_of(peer: str | None, forwarded_for: tuple[str, ...], trusted_proxies: tuple[str, ...]) -> str:
    address = client_address(peer, forwarded_for=forwarded_for, trusted_proxies=trusted_proxies)
    return coarse_place(None if address is None else str(address))


@lru_cache(maxsize=4096)
def _source_of(peer: str | None, forwarded_for: tuple[str, ...], trusted_proxies: tuple[str, ...]) -> str:
    return limiting_key(client_address(peer, forwarded_for=forwarded_for, trusted_proxies=trusted_proxies))
