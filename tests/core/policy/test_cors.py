"""What a browser on another origin is told."""

from __future__ import annotations

import pytest

from portero.core.errors import ConfigurationError
from portero.core.policy.cors import CorsPolicy
from portero.core.policy.protected_resource import metadata_path, metadata_url

SHOP = "https://shop.test"


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://shop.test:443",
        "https://SHOP.test",
        "http://shop.test",
        "https://shop.test.evil.test",
        "https://evil.test",
    ],
)
def test_an_origin_that_is_not_listed_exactly_is_told_nothing(origin: str | None) -> None:
    """No prefix, no case folding, no default port, no `null`."""
    headers = dict(CorsPolicy.for_origins([SHOP]).response_headers(origin))

    assert headers == {"vary": "Origin"}


def test_without_origins_there_are_no_cors_headers() -> None:
    """A service that no page calls stays as it was."""
    assert CorsPolicy().response_headers(SHOP) == ()


@pytest.mark.parametrize("credentials", [True, False])
def test_cookies_come_along_only_where_that_was_asked_for(credentials: bool) -> None:
    """`Access-Control-Allow-Credentials`."""
    headers = dict(CorsPolicy.for_origins([SHOP], credentials=credentials).response_headers(SHOP))

    assert credentials == ("access-control-allow-credentials" in headers)


def test_a_preflights_headers_are_said_back_only_when_well_formed() -> None:
    """Nothing of a request can split a response header."""
    policy = CorsPolicy.for_origins([SHOP])

    headers = dict(policy.preflight_headers(SHOP, requested_headers="X-Good, bad\r\nSet-Cookie: x, ,authorization"))

    assert headers["access-control-allow-headers"] == "authorization, content-type, dpop, x-good"


@pytest.mark.parametrize(
    "origin", ["*", "null", "shop.test", "https://shop.test/", "https://shop.test/x", "ftp://shop.test", "https://"]
)
def test_what_is_no_origin_stops_at_start_up(origin: str) -> None:
    """A wildcard above all."""
    with pytest.raises(ConfigurationError):
        CorsPolicy.for_origins([origin])


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://service.test", "/.well-known/oauth-protected-resource"),
        ("https://service.test/", "/.well-known/oauth-protected-resource"),
        ("https://service.test/api/v1", "/.well-known/oauth-protected-resource/api/v1"),
    ],
)
def test_the_metadata_stands_between_host_and_path(resource: str, path: str) -> None:
    """RFC 9728 §3.1."""
    assert metadata_path(resource) == path
    assert metadata_url(resource) == f"https://service.test{path}"


def test_a_resource_that_is_no_url_has_no_metadata() -> None:
    """An audience such as `shop-api` is an identifier only."""
    assert metadata_url("shop-api") is None
