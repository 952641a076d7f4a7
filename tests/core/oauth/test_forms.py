"""The strict parser of forms and queries."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.errors import RequestError
from portero.core.oauth.forms import (
    FORM_CONTENT_TYPE,
    MAX_BODY_BYTES,
    MAX_PARAMETERS,
    MAX_QUERY_BYTES,
    Parameters,
    parse_form,
    parse_query,
)


def parsed(body: bytes) -> Parameters:
    return parse_form(body, content_type=FORM_CONTENT_TYPE)


def test_values_are_decoded_as_utf_8() -> None:
    """RFC 6749 appendix B: space, quotes and non-ASCII come back as they were."""
    parameters = parsed(b"a=+%25%26%2B%C2%A3%E2%82%AC&b=%20x")

    assert (parameters.get("a"), parameters.get("b")) == (" %&+£€", " x")


@given(
    st.dictionaries(
        st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1),
        st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1),
        max_size=20,
    )
)
def test_what_a_client_encodes_is_what_is_read(form: dict[str, str]) -> None:
    """Every text without control characters survives."""
    parameters = parsed(urlencode(form).encode())

    assert {name: parameters.get(name) for name in parameters} == form


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    """Whatever arrives is parsed or is invalid_request."""
    refused: RequestError | None = None
    try:
        parsed(body)
    except RequestError as error:
        refused = error

    assert refused is None or (refused.error, refused.status) == ("invalid_request", 400)


def test_a_parameter_without_a_value_is_omitted() -> None:
    """RFC 6749 §3.1: treated as if it were omitted from the request."""
    parameters = parsed(b"a=&b&c=1")

    assert (parameters.get("a"), "a" in parameters, parameters.get("b")) == (None, False, None)


@pytest.mark.parametrize("body", [b"a=1&a=1", b"a=1&a=2", b"a=1&a=", b"a=&a=1", b"%61=1&a=2", b"a=1&x=2&a=3"])
def test_a_repeated_parameter_is_refused(body: bytes) -> None:
    """RFC 6749 §3.2: none more than once, however it is spelled."""
    with pytest.raises(RequestError) as refused:
        parsed(body)

    assert refused.value.error == "invalid_request"


def test_resource_may_repeat() -> None:
    """RFC 8707 §2."""
    parameters = parsed(b"resource=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fb.example")

    assert parameters.all("resource") == ("https://a.example", "https://b.example")


def test_a_semicolon_separates_nothing() -> None:
    """Two parsers that disagree about `;` see two requests in one."""
    assert parsed(b"a=1;b=2").get("a") == "1;b=2"


@pytest.mark.parametrize(
    "body",
    [
        b"a=%",
        b"a=%4",
        b"a=%zz",
        b"a=%u0041",
        b"a=%ff",
        b"a=%c0%80",
        b"a=%ed%a0%80",
        b"a=\xc3\xb1",
        b"a=\x00",
        b"a=%00",
        b"a=%0a",
        b"a=1 2",
        b"a=1\n",
    ],
)
def test_broken_encodings_are_refused(body: bytes) -> None:
    """UTF-8 only, whole escapes only, no control characters, no overlong forms, no surrogates."""
    with pytest.raises(RequestError) as refused:
        parsed(body)

    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-URLencoded",
    ],
)
def test_the_content_type_may_have_parameters_and_any_case(content_type: str) -> None:
    """RFC 9110 §8.3.1."""
    assert parse_form(b"a=1", content_type=content_type).get("a") == "1"


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded2", "application/json"]
)
def test_another_content_type_is_refused(content_type: str | None) -> None:
    """A JSON body is not guessed at."""
    with pytest.raises(RequestError):
        parse_form(b"a=1", content_type=content_type)


def test_limits_hold_on_both_sides() -> None:
    """At the limit it is read, one more is refused: body, query, number of parameters."""
    assert parsed(b"a=" + b"x" * (MAX_BODY_BYTES - 2)).get("a") is not None
    assert parse_query(b"a=" + b"x" * (MAX_QUERY_BYTES - 2)).get("a") is not None
    many = "&".join(f"p{i}=1" for i in range(MAX_PARAMETERS)).encode()
    assert len(list(parsed(many))) == MAX_PARAMETERS

    for refused in (b"a=" + b"x" * (MAX_BODY_BYTES - 1), many + b"&more=1"):
        with pytest.raises(RequestError):
            parsed(refused)
    with pytest.raises(RequestError):
        parse_query(b"a=" + b"x" * (MAX_QUERY_BYTES - 1))


def test_a_missing_parameter_is_named() -> None:
    """The text says which."""
    with pytest.raises(RequestError) as refused:
        parsed(b"a=1").require("code")

    assert "code" in refused.value.description


def test_values_do_not_show() -> None:
    """They may be codes, tokens or secrets."""
    assert "geheim" not in repr(parsed(b"client_secret=geheim"))
