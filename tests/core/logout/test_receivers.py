"""Where tokens may be sent."""

from __future__ import annotations

import ipaddress

import pytest

from portero.core.logout.receivers import check_receiver_uri, may_be_told

INSIDE = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32"))


@pytest.mark.parametrize(
    "uri",
    ["https://shop.example/out", "https://shop.example:8443/out?x=1", "http://localhost:8100/out", "http://[::1]:9/x"],
)
def test_https_and_loopback_are_told(uri: str) -> None:
    """Back-Channel Logout 1.0 §2.2: https; http only where the wire is this machine."""
    check_receiver_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        *("", "shop.example/out", "/out", "ftp://shop.example/", "javascript:alert(1)", "https://", "https:///out"),
        *("http://shop.example/out", "http://10.0.0.1/out", "https://ana@shop.example/", "https://shop.example/#x"),
        *(
            "https://shop.example/a b",
            "https://shop.example/\r\nx: y",
            "https://shop.example:x/",
            "https://shóp.example",
        ),
        *("https://shop.example\\@evil.example/", "https://[::1", "https://shop.example/" + "x" * 2000),
    ],
)
def test_other_uris_are_not(uri: str) -> None:
    """Nothing unencrypted, nothing that could begin another request."""
    with pytest.raises(ValueError, match="absolute https"):
        check_receiver_uri(uri)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "10.1.2.3", "fd00:1::5", "::ffff:10.1.2.3"])
def test_public_addresses_and_the_operator_s_are_reached(address: str) -> None:
    """What the operator allows is allowed in either notation."""
    assert may_be_told(address, networks=INSIDE)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "10.2.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:1::", "x", ""),
    ],
)
def test_special_addresses_are_not(address: str) -> None:
    """Loopback, private, link-local (cloud metadata), multicast, and IPv6 that carries one of them."""
    assert not may_be_told(address, networks=INSIDE)
