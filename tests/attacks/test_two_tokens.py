"""More than one credential in a request (row 82), and preflights (row 83): refused before any is tried."""

from __future__ import annotations

import pytest

from portero.core.policy.cors import is_preflight
from portero.core.policy.credentials import token_of, token_of_header, token_of_subprotocols
from portero.core.policy.refusal import Case, Refusal

GOOD = (b"authorization", b"Bearer good")


def case_of(outcome: object) -> Case | None:
    return outcome.case if isinstance(outcome, Refusal) else None


@pytest.mark.attack(row=82)
@pytest.mark.parametrize(
    "second",
    [
        (b"authorization", b"Bearer good"),
        (b"authorization", b"Bearer other"),
        (b"authorization", b"Basic YTpi"),
        (b"authorization", b"DPoP other"),
        (b"authorization", b""),
    ],
)
def test_a_second_authorization_header_is_refused_in_either_order(second: tuple[bytes, bytes]) -> None:
    """Whatever it holds: readers that take the first and readers that take the last must not see two callers."""
    assert case_of(token_of([GOOD, second])) is Case.TWO_TOKENS
    assert case_of(token_of([second, GOOD])) is Case.TWO_TOKENS


@pytest.mark.attack(row=82)
@pytest.mark.parametrize("joined", [b"Bearer a, Bearer b", b"Bearer a,b", b"Basic YTpi, Bearer a", b"bearer a,Basic x"])
def test_headers_that_a_server_joined_are_noticed(joined: bytes) -> None:
    """WSGI servers join repeated headers with a comma, which no token holds."""
    assert case_of(token_of_header(joined)) is Case.TWO_TOKENS


@pytest.mark.attack(row=82)
@pytest.mark.parametrize(
    "query",
    [b"access_token=x", b"a=b&access_token=", b"access_token", b"access%5ftoken=x", b"%61ccess_token=x"],
)
def test_a_token_in_the_query_string_beside_the_header_is_refused(query: bytes) -> None:
    """However its name is encoded, also when it is empty."""
    assert case_of(token_of([GOOD], query)) is Case.TWO_TOKENS


@pytest.mark.attack(row=82)
@pytest.mark.parametrize(
    "query", [b"", b"page=2", b"my_access_token=x", b"x=access_token", b"access_tokens=1", b"q=50%25"]
)
def test_other_parameters_are_nobodys_business(query: bytes) -> None:
    """Only a parameter of exactly that name counts."""
    assert token_of([GOOD], query) == b"good"


@pytest.mark.attack(row=82)
def test_a_query_token_alone_is_no_token() -> None:
    """RFC 6750 §2.3 is not supported."""
    assert case_of(token_of([], b"access_token=x")) is Case.NO_TOKEN


@pytest.mark.attack(row=82)
def test_two_subprotocol_tokens_are_refused() -> None:
    """The WebSocket form of the same trick."""
    assert case_of(token_of_subprotocols(["portero.bearer.a", "portero.bearer.b"])) is Case.TWO_TOKENS


@pytest.mark.attack(row=83)
@pytest.mark.parametrize(
    ("method", "origin", "requested", "preflight"),
    [
        ("OPTIONS", "https://shop.test", "POST", True),
        ("OPTIONS", None, "POST", False),
        ("OPTIONS", "https://shop.test", None, False),
        ("POST", "https://shop.test", "POST", False),
    ],
)
def test_only_a_preflight_is_answered_without_a_token(
    method: str, origin: str | None, requested: str | None, preflight: bool
) -> None:
    """Fetch §3.3.2: OPTIONS with both headers; everything else is authenticated like any request."""
    assert preflight == is_preflight(method, origin, requested)
