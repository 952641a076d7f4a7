"""Whose word counts for where a request comes from."""

from __future__ import annotations

import pytest

from portero.authorization_server.sign_in.address import client_address, limiting_key

PROXIES = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        (None, ["198.51.100.1"], None),
        ("testclient", ["198.51.100.1"], None),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded_for: list[str], expected: str | None) -> None:
    """From the right, while the speaker is one of ours; the rest is anybody's invention."""
    found = client_address(peer, forwarded_for=forwarded_for, trusted_proxies=PROXIES)

    assert expected == (None if found is None else str(found))


def test_nobody_is_believed_by_default() -> None:
    """No proxies configured: `X-Forwarded-For` says nothing."""
    assert str(client_address("10.0.0.1", forwarded_for=["6.6.6.6"], trusted_proxies=())) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), (None, "")],
)
def test_limits_count_what_one_customer_commands(address: str | None, expected: str) -> None:
    """An IPv4 address; the whole /64 of IPv6."""
    found = client_address(address, forwarded_for=(), trusted_proxies=())

    assert expected == limiting_key(found)
