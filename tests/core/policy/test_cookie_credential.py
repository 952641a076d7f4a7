"""When a cookie carries an access token."""

from __future__ import annotations

import pytest

from portero.core.errors import ConfigurationError
from portero.core.policy.cookie_credential import CookieCredential
from portero.core.policy.refusal import NO_TOKEN, Case, Refusal

PAGE = "https://shop.test"
COOKIE = CookieCredential(origins=[PAGE], name="access")


def read(headers: dict[str, str], *, websocket: bool = False) -> bytes | Refusal:
    return COOKIE.token_of(headers.get, websocket=websocket)


def test_the_cookie_is_read_beside_others_and_names_are_compared_whole() -> None:
    """`xaccess` and `Access` are other cookies (RFC 6265 §5.4)."""
    headers = {"cookie": "xaccess=a; Access=b; access=c.d.e; access2=f", "origin": PAGE, "x-portero": "1"}

    assert read(headers) == b"c.d.e"


def test_a_handshake_needs_the_origin_and_no_header() -> None:
    """A browser's WebSocket cannot set one; it always says its origin (RFC 6455 §10.2)."""
    assert read({"cookie": "access=t", "origin": PAGE}, websocket=True) == b"t"
    assert read({"cookie": "access=t", "sec-fetch-site": "same-origin", "x-portero": "1"}, websocket=True) is NO_TOKEN


@pytest.mark.parametrize(
    "origin", ["https://shop.test:443", "http://shop.test", "https://SHOP.test", "https://shop.test/"]
)
def test_an_origin_is_compared_exactly(origin: str) -> None:
    """As a browser writes it, and in no other way."""
    assert read({"cookie": "access=t", "origin": origin, "x-portero": "1"}) is NO_TOKEN


def test_an_empty_cookie_is_no_token() -> None:
    """A signed-out page may leave one."""
    assert read({"cookie": "access=", "origin": PAGE, "x-portero": "1"}) is NO_TOKEN


def test_a_repeated_cookie_is_two_tokens() -> None:
    """A sibling host may have tossed one of them."""
    outcome = read({"cookie": "access=a; access=b", "origin": PAGE, "x-portero": "1"})

    assert isinstance(outcome, Refusal)
    assert outcome.case is Case.TWO_TOKENS


@pytest.mark.parametrize(
    "wrong",
    [{"origins": []}, {"origins": ["shop.test"]}, {"origins": ["*"]}, {"name": ""}, {"name": "a=b"}, {"header": "x y"}],
)
def test_a_setting_that_cannot_be_meant_is_an_error(wrong: dict[str, object]) -> None:
    """At start-up."""
    with pytest.raises(ConfigurationError):
        CookieCredential(**{"origins": [PAGE], **wrong})  # type: ignore[arg-type] # wrong on purpose
