"""Status lists: the draft's own vectors, and the claims of list and token."""

from __future__ import annotations

import zlib

import pytest

from portero.core.jose.base64url import decode
from portero.core.revocation.status_list import LIST_SIZE, compressed, list_claims, status_claim
from portero.core.types import Issuer, NumericDate

ISS = Issuer("https://as.example")
BASE = "https://as.example/status-lists"


def test_bits_count_from_the_least_significant_of_the_first_byte() -> None:
    """§4.1, the draft's example: bits 1001 1101 1100 0101 of indexes 0 to 15 are the bytes B9 A3."""
    ended = [0, 3, 4, 5, 7, 8, 9, 13, 15]
    array = zlib.decompress(decode(compressed(ended)))

    assert array[:2] == bytes((0xB9, 0xA3))
    assert len(array) == LIST_SIZE // 8
    assert not any(array[2:])


@pytest.mark.parametrize(
    ("index", "number", "idx"),
    [(0, 0, 0), (LIST_SIZE - 1, 0, LIST_SIZE - 1), (LIST_SIZE, 1, 0), (3 * LIST_SIZE + 7, 3, 7)],
)
def test_an_index_has_one_place(index: int, number: int, idx: int) -> None:
    """Both sides of a list's end; token and list name the same."""
    claim = status_claim(index, base=BASE)["status_list"]
    claims = list_claims(number, [index], issuer=ISS, base=BASE, now=NumericDate(1000))
    array = zlib.decompress(decode(claims["status_list"]["lst"]))

    assert claim == {"idx": idx, "uri": f"{BASE}/{number}"}
    assert claims["sub"] == claim["uri"]
    assert array[idx // 8] == 1 << idx % 8
    assert array.count(0) == len(array) - 1


def test_a_list_says_how_long_it_is_good() -> None:
    """§5.1: sub, iat, exp, ttl, bits, lst."""
    claims = list_claims(0, [], issuer=ISS, base=BASE, now=NumericDate(1000))

    assert (claims["iat"], claims["exp"], claims["ttl"]) == (1000, 1600, 60)
    assert claims["status_list"]["bits"] == 1
