"""The refresh token's text: what we rendered is recognized, and nothing else is."""

from __future__ import annotations

import hmac

import pytest

from portero.core.errors import RequestError
from portero.core.jose.base64url import decode, encode
from portero.core.tokens.refresh_token import (
    MAX_GENERATION,
    TOKEN_LENGTH,
    RefreshToken,
    TagKey,
    parse_refresh_token,
    render_refresh_token,
)
from portero.core.types import FamilyId, Secret

KEYS = {0: Secret(b"0" * 32), 7: Secret(b"7" * 32), 255: Secret(b"f" * 32)}
TOKEN = RefreshToken(FamilyId(bytes(range(16))), 41, Secret(bytes(range(100, 132))))


def rendered(token: RefreshToken = TOKEN, *, key_id: int = 7) -> str:
    return render_refresh_token(token, tag_key=TagKey(key_id, KEYS[key_id])).reveal()


def refusal(text: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_refresh_token(Secret(text), tag_key=KEYS.get)
    return caught.value


@pytest.mark.parametrize("key_id", KEYS)
@pytest.mark.parametrize("generation", [0, 1, 41, MAX_GENERATION])
def test_what_was_rendered_is_recognized(key_id: int, generation: int) -> None:
    """Family, generation and secret come back, whichever tag key was current."""
    token = RefreshToken(TOKEN.family_id, generation, TOKEN.secret)

    parsed = parse_refresh_token(Secret(rendered(token, key_id=key_id)), tag_key=KEYS.get)

    assert (parsed.family_id, parsed.generation) == (token.family_id, generation)
    assert parsed.secret.matches(token.secret)


def test_the_form_is_the_one_of_the_design() -> None:
    """`prt1.` body `.` tag: key id ‖ family ‖ generation big-endian ‖ secret, and half an HMAC-SHA-256."""
    prefix, body, tag = rendered().split(".")

    assert prefix == "prt1"
    assert decode(body) == b"\x07" + TOKEN.family_id + (41).to_bytes(4, "big") + TOKEN.secret.reveal()
    assert decode(tag) == hmac.digest(KEYS[7].reveal(), f"prt1.{body}".encode(), "sha256")[:16]
    assert len(rendered()) == TOKEN_LENGTH == 99


def test_no_altered_character_is_accepted() -> None:
    """Every place of the text, several characters each: body, tag, dots and prefix."""
    text = rendered()
    accepted = []
    for place in range(len(text)):
        for character in "Aq-_.=+/ 0é\n":
            altered = text[:place] + character + text[place + 1 :]
            if altered != text:
                try:
                    parse_refresh_token(Secret(altered), tag_key=KEYS.get)
                except RequestError:
                    continue
                accepted.append(altered)

    assert accepted == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prt1",
        "prt1..",
        "." * 99,
        "prt2" + rendered()[4:],
        rendered()[:-1],
        rendered() + "A",
        " " + rendered(),
        rendered() + "\n",
        rendered() + "==",
        rendered().replace(".", ":"),
        "prt1." + "A" * 93 + ".",
        "x" * 10_000_000,
        "eyJhbGciOiJub25lIn0.e30.",
    ],
    ids=lambda text: f"{len(text)} characters",
)
def test_malformed_texts_are_refused_alike(text: str) -> None:
    """`invalid_grant` without a reason: a reason is for those who hold a token of ours."""
    error = refusal(text)

    assert (error.error, error.status, error.reason) == ("invalid_grant", 400, None)
    assert error.description == refusal("").description


@pytest.mark.attack(row=25)
def test_a_tag_with_spare_bits_is_refused() -> None:
    """A token has one spelling: the last character's four spare bits are zero (RFC 4648 §3.5)."""
    text = rendered()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(text[-1]) + 1]

    assert refusal(text[:-1] + other).detail.endswith("it is not canonical base64url")


def test_a_tag_under_another_key_is_refused() -> None:
    """The key id says which key to try; it vouches for nothing."""
    body = rendered().rsplit(".", 1)[0]
    forged = hmac.digest(b"a guess", body.encode(), "sha256")[:16]

    assert refusal(f"{body}.{encode(forged)}").detail.endswith("its tag is not ours")


def test_a_retired_tag_key_recognizes_nothing() -> None:
    """Absent key never means unchecked."""
    with pytest.raises(RequestError, match="no tag key with the id 7"):
        parse_refresh_token(Secret(rendered()), tag_key=lambda _: None)


def test_no_error_quotes_the_token() -> None:
    """What is refused may still be somebody's secret."""
    text = rendered()
    error = refusal(text[:-2] + "AA")

    assert text[5:40] not in f"{error} {error.description} {error.detail} {TOKEN!r}"


def test_nothing_of_another_size_is_rendered() -> None:
    """A short secret is a bug of ours, not a token."""
    with pytest.raises(ValueError, match="16 bytes"):
        rendered(RefreshToken(TOKEN.family_id, 1, Secret(b"short")))
