"""The successor's box opens with the presented token, and with nothing a database holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag

from portero.core.digests import sha256_of
from portero.core.sessions.sealing import open_successor, seal_successor
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.types import FamilyId, Secret

PRESENTED = RefreshToken(FamilyId(b"f" * 16), 3, Secret(b"p" * 32))
SUCCESSOR = Secret(b"n" * 32)
BOX = seal_successor(SUCCESSOR, presented=PRESENTED, nonce=b"0" * 12)


def test_the_presented_token_opens_the_box() -> None:
    """The same successor, and 60 bytes at rest."""
    assert open_successor(BOX, presented=PRESENTED).matches(SUCCESSOR)
    assert len(BOX) == 60
    assert SUCCESSOR.reveal() not in BOX


@pytest.mark.parametrize(
    "other",
    [
        replace(PRESENTED, secret=Secret(b"q" * 32)),
        replace(PRESENTED, secret=Secret(bytes(sha256_of(PRESENTED.secret)))),
        replace(PRESENTED, generation=4),
        replace(PRESENTED, family_id=FamilyId(b"g" * 16)),
    ],
    ids=["another secret", "the stored digest", "another generation", "another family"],
)
def test_nothing_else_opens_it(other: RefreshToken) -> None:
    """Family and generation are associated data; the digest in storage is not the key."""
    with pytest.raises(InvalidTag):
        open_successor(BOX, presented=other)


@pytest.mark.parametrize("place", [0, 11, 12, 43, 44, 59])
def test_a_damaged_box_does_not_open(place: int) -> None:
    """Nonce, ciphertext and tag are all covered."""
    damaged = BOX[:place] + bytes([BOX[place] ^ 1]) + BOX[place + 1 :]

    with pytest.raises(InvalidTag):
        open_successor(damaged, presented=PRESENTED)


def test_a_nonce_of_another_size_is_a_bug() -> None:
    """Twelve bytes, always."""
    with pytest.raises(ValueError, match="12 bytes"):
        seal_successor(SUCCESSOR, presented=PRESENTED, nonce=b"0" * 11)
