"""base64url has one spelling for every value."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.jose.base64url import Base64UrlError, decode, encode

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=200))
def test_what_is_encoded_decodes(data: bytes) -> None:
    """RFC 4648 §5: the text says the bytes, as the standard library spells them, without padding."""
    text = encode(data)

    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert decode(text) == data
    assert decode(text.encode()) == data


@given(st.text(alphabet=ALPHABET + "+/= \n.é", max_size=12))
def test_a_text_that_decodes_is_the_one_spelling(text: str) -> None:
    """Whatever is accepted is exactly what `encode` writes: there is no second text for the same bytes."""
    try:
        data = decode(text)
    except Base64UrlError:
        return

    assert encode(data) == text


@pytest.mark.parametrize("length", [2, 3])
def test_spare_bits_are_zero(length: int) -> None:
    """RFC 4648 §3.5: of all last characters only those with zero spare bits pass."""
    accepted = []
    for last in ALPHABET:
        try:
            decode("A" * (length - 1) + last)
        except Base64UrlError:
            continue
        accepted.append(last)

    assert "".join(accepted) == ("AQgw" if length == 2 else "AEIMQUYcgkosw048")


@pytest.mark.parametrize(
    "text",
    [
        "QQ==",
        "QUE=",
        "QUJD=",
        "QUJD==",
        "=",
        "Q",
        "QUJDQ",
        "QU JD",
        "QUJD\n",
        "QU+D",
        "QU/D",
        "QÜ",
        "\x00QUJ",
        "QUJD\n\n\n\n",
        "QUJD====",
        "QUJD++++",
        "QU  JD  ",
        "QUJDé",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """RFC 7515 §2: no padding, no white space, no characters of the other alphabet."""
    with pytest.raises(Base64UrlError):
        decode(text)


def test_the_empty_text_is_no_bytes() -> None:
    """RFC 4648 §10."""
    assert decode("") == b""
    assert encode(b"") == ""
