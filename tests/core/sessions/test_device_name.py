"""A name a person recognizes, and a place that says little."""

from __future__ import annotations

import pytest

from portero.core.sessions.device_name import MAX_LENGTH, cleaned_device_name, coarse_place, device_name

_KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox · Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KHTML} Chrome/140.0.0.0 Safari/537.36", "Chrome · Windows"),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KHTML} Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge · Windows",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 15; SM-S911B) {_KHTML} SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36",
            "Samsung Internet · Android",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.0 Safari/605.1.15",
            "Safari · macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "CriOS/140.0 Mobile/15E148 Safari/604.1",
            "Chrome · iPhone",
        ),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_KHTML} Chrome/140.0 Safari/537.36", "Chrome · ChromeOS"),
        ("Mozilla/5.0 (compatible; Linux)", "Linux"),
        ("curl/8.9.1", "curl"),
        ("okhttp/5.0 extra", "okhttp"),
        ("", "Unknown device"),
        (None, "Unknown device"),
        ("Mozilla/5.0", "Unknown device"),
        ("<script>alert(1)</script>", "Unknown device"),
        ("\x00\r\nSet-Cookie: a=b", "Unknown device"),
        ("x" * 100_000, "Unknown device"),
    ],
)
def test_a_user_agent_becomes_a_name(user_agent: str | None, expected: str) -> None:
    """Browser and system, a program's token, or unknown; never the text itself."""
    assert device_name(user_agent) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.77", "203.0.0.0/16"),
        ("::ffff:203.0.113.77", "203.0.0.0/16"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        (None, ""),
        ("unix:", ""),
        ("203.0.113.77:4711", ""),
        ("999.1.1.1", ""),
    ],
)
def test_a_place_is_a_network_prefix(address: str | None, expected: str) -> None:
    """/16 and /48; what is no address is no place."""
    assert coarse_place(address) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ana's  laptop ", "Ana's laptop"),
        ("línea\r\nnueva\x00", "línea nueva"),
        ("x" * (MAX_LENGTH + 1), "x" * MAX_LENGTH),
        (" \t\n", None),
        ("\u202e\u200b", None),
    ],
)
def test_a_given_name_is_one_printable_line(name: str, expected: str | None) -> None:
    """No control or direction characters, at most sixty."""
    assert cleaned_device_name(name) == expected
