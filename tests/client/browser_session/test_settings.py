"""Settings are refused before anything is served, by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from portero.client.browser_session import Secret, Settings
from portero.core.errors import ConfigurationError

GOOD: dict[str, Any] = {
    "issuer": "https://login.example",
    "client_id": "shop",
    "client_secret": Secret("secret"),
    "origin": "https://shop.example",
    "secrets": (Secret("s" * 32),),
    "upstreams": {"/api": "http://orders:8000"},
}


def test_good_settings_say_what_to_register() -> None:
    """The redirect URI is exact."""
    assert Settings(**GOOD).redirect_uri == "https://shop.example/session/callback"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("issuer", "http://login.example"),
        ("issuer", "https://login.example?x"),
        ("client_id", ""),
        ("client_secret", Secret("")),
        ("origin", "https://shop.example/"),
        ("origin", "https://Shop.example"),
        ("origin", "http://shop.example"),
        ("secrets", ()),
        ("secrets", (Secret("short"),)),
        ("scope", "orders:read"),
        ("base", "session"),
        ("base", "/session/"),
        ("base", "/a/../b"),
        ("upstreams", {"/session/api": "http://orders"}),
        ("upstreams", {"/api/": "http://orders"}),
        ("upstreams", {"/api": "ftp://orders"}),
        ("upstreams", {"/api": "http://orders?x=1"}),
        ("longest", timedelta(0)),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(setting: str, value: object) -> None:
    """And the message holds no secret."""
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{**GOOD, setting: value})

    assert refused.value.setting == setting
    assert "short" not in str(refused.value)
