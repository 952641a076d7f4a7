"""Portero beside PyJWT and joserfc: a difference that nobody has explained is a failure."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.differences import DIFFERENCES
from tests.differential.generated import DEVIATIONS, good, spoiled
from tests.differential.libraries import ACCEPTED, LIBRARIES

OTHERS = sorted(LIBRARIES.keys() - {"portero"})
EXPLAINED = {(name, library) for row in DIFFERENCES for name in row.deviations for library in row.libraries}


def unexplained(token: str, names: tuple[str, ...]) -> list[str]:
    """The libraries that judge otherwise and have no row for it, with both verdicts."""
    ours = LIBRARIES["portero"](token)
    return [
        f"{names}: Portero {ours!r}, {library} {theirs!r}"
        for library in OTHERS
        if ((theirs := LIBRARIES[library](token)) == ACCEPTED) != (ours == ACCEPTED)
        and not any((name, library) in EXPLAINED for name in names)
    ]


def test_a_good_token_is_good_everywhere() -> None:
    """Otherwise every difference would be one of set-up."""
    assert {name: verify(good().token()) for name, verify in LIBRARIES.items()} == dict.fromkeys(LIBRARIES, ACCEPTED)


@pytest.mark.parametrize("name", sorted(DEVIATIONS))
def test_each_deviation_is_judged_alike_or_explained(name: str) -> None:
    """One thing is unusual about the token, and a row says who is right about it wherever the libraries differ."""

    @settings(max_examples=5, deadline=None, database=None, derandomize=True)
    @given(spoiled((name,)))
    def judged(case: tuple[str, tuple[str, ...]]) -> None:
        assert unexplained(*case) == []

    judged()


@settings(max_examples=600, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(spoiled())
def test_two_deviations_are_judged_alike_or_explained(case: tuple[str, tuple[str, ...]]) -> None:
    """What one thing hides in another is found by putting them together."""
    assert unexplained(*case) == []


@pytest.mark.parametrize(("name", "library"), sorted(EXPLAINED), ids=lambda value: str(value).replace(" ", "-"))
def test_each_row_is_a_difference(name: str, library: str) -> None:
    """A row that explains nothing any more goes: the library, or we, have changed."""
    differing: list[str] = []

    @settings(max_examples=8, deadline=None, database=None, derandomize=True)
    @given(spoiled((name,)))
    def judged(case: tuple[str, tuple[str, ...]]) -> None:
        if (LIBRARIES["portero"](case[0]) == ACCEPTED) != (LIBRARIES[library](case[0]) == ACCEPTED):
            differing.append(case[0])

    judged()

    assert differing
