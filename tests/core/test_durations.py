"""Durations in settings: one number, one unit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.durations import EXPECTED, parse_duration, render_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("14d", timedelta(days=14)),
    ],
)
def test_a_number_and_a_unit_are_a_duration(text: str, expected: timedelta) -> None:
    """Each unit is what its letter says."""
    assert expected == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5 m", " 5m", "5m ", "5M", "-5m", "+5m", "1.5h", "1h30m", "05m", "5ms", "5w", "٥m", "5m\n", "1e3s"],
)
def test_everything_else_is_refused_with_what_it_may_be(text: str) -> None:
    """No sum, fraction, sign, space, default unit or foreign digit: nothing two readers could read differently."""
    with pytest.raises(ValueError, match="a whole number") as refused:
        parse_duration(text)

    assert str(refused.value) == EXPECTED


@given(st.integers(min_value=0, max_value=999_999_999).map(lambda n: timedelta(seconds=n)))
def test_what_is_written_reads_the_same(duration: timedelta) -> None:
    """`render_duration` is the inverse of `parse_duration`."""
    assert duration == parse_duration(render_duration(duration))


@pytest.mark.parametrize("duration", [timedelta(seconds=-1), timedelta(milliseconds=1500)])
def test_what_settings_cannot_say_is_not_written(duration: timedelta) -> None:
    """A negative duration or a fraction of a second has no text."""
    with pytest.raises(ValueError, match="whole number of seconds"):
        render_duration(duration)
