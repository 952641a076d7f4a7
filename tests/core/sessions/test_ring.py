"""The ring of spent generations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portero.core.sessions.ring import Ring, SpentToken
from portero.core.types import Digest, NumericDate

SPENT = st.builds(
    SpentToken,
    st.integers(0, 2**32 - 1),
    st.none() | st.binary(min_size=32, max_size=32).map(Digest),
    st.integers(0, 2**53).map(NumericDate),
)


@given(st.lists(SPENT, max_size=20))
def test_a_ring_gives_back_what_it_was_given(spent: list[SpentToken]) -> None:
    """Newest first, to the last field, and equal to another ring of the same."""
    ring = Ring.of(*spent)

    assert spent == list(ring)
    assert len(spent) == len(ring)
    assert Ring.of(*ring) == ring


@given(st.lists(SPENT, max_size=20), SPENT, st.integers(1, 20))
def test_pushing_forgets_the_oldest(spent: list[SpentToken], newest: SpentToken, size: int) -> None:
    """The new one stands in front, and no more than `size` are kept."""
    assert [newest, *spent][:size] == list(Ring.of(*spent).pushed(newest, size=size))


def test_a_generation_is_found_while_it_is_kept() -> None:
    """What fell out of the ring is not remembered."""
    ring = Ring.of(*(SpentToken(n, None, NumericDate(n)) for n in range(16, 0, -1)))

    assert ring.find(1) == SpentToken(1, None, NumericDate(1))
    assert ring.pushed(SpentToken(17, None, NumericDate(17)), size=16).find(1) is None
