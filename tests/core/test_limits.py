"""Token buckets: how many at once, how many in a period, and how long to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.limits import OFF, Rate, is_rate, parse_rate, retry_after


@pytest.mark.parametrize("burst", [1, 3, 60])
def test_a_full_bucket_gives_its_burst_and_not_one_more(burst: int) -> None:
    """Both sides of the limit."""
    rate = Rate(burst, 60.0)
    level = at = 1000.0
    for _ in range(burst):
        assert rate.wait(level, at=at) <= 1e-9
        level = rate.spend(level, at=at)

    assert rate.wait(level, at=at) == pytest.approx(60.0 / burst)


def test_a_long_rest_saves_nothing_up() -> None:
    """A bucket is full at most: a day without a request is no day's worth of requests at once."""
    rate = Rate(3, 60.0)
    level = rate.spend(0.0, at=0.0)
    passed = 0
    while rate.wait(level, at=86_400.0) <= 1e-6:
        level = rate.spend(level, at=86_400.0)
        passed += 1

    assert passed == 3


def test_one_more_is_allowed_after_an_interval_and_not_just_before() -> None:
    """Sixty a minute is one a second, once the burst is spent."""
    rate = Rate(60, 60.0)
    level = 0.0
    for _ in range(60):
        level = rate.spend(level, at=0.0)

    assert rate.wait(level, at=0.999) > 0
    assert rate.wait(level, at=1.001) <= 0


@given(st.lists(st.floats(0, 10), max_size=200), st.integers(1, 20), st.integers(1, 20))
def test_no_more_than_burst_and_refill_ever_pass(gaps: list[float], burst: int, period: int) -> None:
    """However the attempts are spread, those let through in a span are at most its burst and what was refilled."""
    rate = Rate(burst, float(period))
    level = at = 0.0
    passed = 0
    for gap in gaps:
        at += gap
        if rate.wait(level, at=at) <= 0:
            level = rate.spend(level, at=at)
            passed += 1

    assert passed <= burst + at / rate.interval + 1


def test_a_rate_is_read_as_it_is_written() -> None:
    """A number, a slash, a duration; or the word that says that there is no limit."""
    assert parse_rate("60/1m") == Rate(60, 60.0)
    assert parse_rate("1/30s") == Rate(1, 30.0)
    assert parse_rate(OFF) is None


@pytest.mark.parametrize("text", ["", "0/1m", "60", "60/0s", "60/", "/1m", "60/1m ", "-1/1m", "1.5/1m", "OFF", "none"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """Nothing but the word itself turns a limit off."""
    assert not is_rate(text)
    with pytest.raises(ValueError):
        parse_rate(text)


@pytest.mark.parametrize(("wait", "seconds"), [(0.001, 1), (1.0, 1), (1.01, 2), (59.5, 60)])
def test_a_wait_is_told_in_whole_seconds_and_never_too_short(wait: float, seconds: int) -> None:
    """RFC 9110 §10.2.3: whoever obeys it is let in."""
    assert retry_after(wait) == seconds
