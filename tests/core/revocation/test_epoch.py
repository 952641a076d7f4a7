"""The feed's epoch after a restore."""

from __future__ import annotations

import pytest

from portero.core.revocation.epoch import restored_at_of, restored_epoch
from portero.core.revocation.feed import Cursor, parse_cursor
from portero.core.types import NumericDate


def test_an_epoch_says_when_it_was_restored() -> None:
    """And is a cursor's epoch like any other."""
    epoch = restored_epoch(bytes(9), now=NumericDate(1_800_000_000))

    assert restored_at_of(epoch) == 1_800_000_000
    assert parse_cursor(f"{epoch}:7") == Cursor(epoch, 7)


@pytest.mark.parametrize(
    "epoch", ["000000000000000000", "", "x-restored-1", "00-restored-", "00-restored-01", "00-restored-1x"]
)
def test_any_other_epoch_began_as_a_new_database(epoch: str) -> None:
    """Absent is never taken for declared."""
    assert restored_at_of(epoch) is None


@pytest.mark.parametrize("size", [8, 10])
def test_an_epoch_has_nine_random_bytes(size: int) -> None:
    """Fewer would be a mistake of ours."""
    with pytest.raises(ValueError):
        restored_epoch(bytes(size), now=NumericDate(1))
