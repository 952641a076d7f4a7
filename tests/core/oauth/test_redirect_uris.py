"""Redirect URIs: what is safe to follow, and how a policy names it. (Matching: `test_authorization`.)"""

from __future__ import annotations

import pytest

from portero.core.oauth.redirect_uris import csp_source, has_safe_scheme


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://app.example/cb", "https://app.example"),
        ("https://app.example", "https://app.example"),
        ("https://app.example?x", "https://app.example"),
        ("http://localhost:8100/cb", "http://localhost:8100"),
        ("http://[::1]:8100/cb", "http:"),
        ("org.example.app:/cb", "org.example.app:"),
        ("https://app.example;script-src/cb", "https:"),
        ("https://user@app.example/cb", "https:"),
        ("https://app.example:99999999/cb", "https:"),
        ("javascript:alert(1)", None),
        ("app.example/cb", None),
        ("", None),
        ("https://app.example/ 'unsafe-inline'", "https://app.example"),
    ],
)
def test_a_policy_names_the_origin_and_nothing_else(uri: str, expected: str | None) -> None:
    """CSP3 §2.3.1: a host source where there is one, else the scheme; a URI can add no directive."""
    assert expected == csp_source(uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://app.example/", True),
        ("org.example.app:/cb", True),
        ("JAVASCRIPT:alert(1)", False),
        ("data:,x", False),
        ("/cb", False),
        ("//app.example/", False),
        ("https://app.example/\r\nx", False),
        ("https://app.example/\u00e9", False),
        ("", False),
    ],
)
def test_only_a_place_is_safe(uri: str, expected: bool) -> None:
    """No script, no relative reference, nothing that does not fit a header as it stands."""
    assert expected == has_safe_scheme(uri)
