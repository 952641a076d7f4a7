"""The key cache: known keys never wait, floods buy nothing, outages are bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.errors import ConfigurationError
from portero.core.jose.jwk_set import JWKSet, jwk_set_of
from portero.core.keys.key_cache import Fetch, KeyCache, KeyCachePolicy, NoKeys, Unknown, Use, Wait
from tests.core.jose.minting import private_key

POLICY = KeyCachePolicy(
    refresh_after=300, max_age=3600, unknown_kid_interval=5, fetch_timeout=10, backoff_first=1, backoff_longest=60
)
ONE, TWO = private_key("ES256", "one"), private_key("ES256", "two")


def keys(*names: str) -> JWKSet:
    return jwk_set_of(private_key("ES256", name).public for name in names)


def loaded(*names: str, at: float = 0) -> KeyCache:
    cache = KeyCache(POLICY)
    cache.fetched(keys(*names or ("one",)), now=at)
    return cache


def test_a_cold_cache_fetches_once_for_everybody() -> None:
    """The first caller fetches; all others wait for that one fetch, whatever their `kid`."""
    cache = KeyCache(POLICY)

    actions = [cache.lookup(kid, "ES256", now=0) for kid in (ONE.kid, ONE.kid, TWO.kid, None)]

    assert actions == [Fetch(), Wait(10), Wait(10), Wait(10)]
    assert not cache.is_ready(now=0)
    cache.fetched(keys("one"), now=1)
    assert cache.lookup(ONE.kid, "ES256", now=1) == Use(ONE.public)
    assert cache.is_ready(now=1)


def test_a_known_key_is_used_at_once_until_refresh_is_due() -> None:
    """Just before `refresh_after` nothing is asked of anybody."""
    cache = loaded()

    assert cache.lookup(ONE.kid, "ES256", now=299.9) == Use(ONE.public)
    assert cache.lookup(None, "ES256", now=299.9) == Use(ONE.public)
    assert not cache.refresh_due(now=299.9)


def test_refresh_ahead_is_one_callers_duty_and_delays_nobody() -> None:
    """From `refresh_after` on one caller starts a fetch beside its request; all use the key they have."""
    cache = loaded()

    actions = [cache.lookup(ONE.kid, "ES256", now=300) for _ in range(3)]

    assert actions == [Use(ONE.public, refresh=True), Use(ONE.public), Use(ONE.public)]
    assert not cache.refresh_due(now=300)


@pytest.mark.attack(row=54)
def test_a_flood_of_unknown_kids_is_one_fetch_a_window() -> None:
    """CVE-2026-48524: ten thousand invented names in nine seconds ask for two fetches."""
    cache = loaded()
    fetches = 0

    for i in range(10_000):
        now = 4 + i * 0.0009
        action = cache.lookup(f"random-{i}", "ES256", now=now)
        if isinstance(action, Fetch):
            fetches += 1
            cache.fetched(keys("one"), now=now)
        else:
            assert isinstance(action, Unknown)
        assert cache.lookup(ONE.kid, "ES256", now=now) == Use(ONE.public)

    assert fetches == 2


@pytest.mark.attack(row=55)
def test_a_known_key_never_waits_for_a_fetch() -> None:
    """While an unknown `kid`'s fetch is under way or lost, the known ones are used."""
    cache = loaded()
    assert cache.lookup("new", "ES256", now=6) == Fetch()

    for now in (6, 10, 15.9, 100, 301, 3599):
        assert isinstance(cache.lookup(ONE.kid, "ES256", now=now), Use)


@pytest.mark.attack(row=56)
def test_a_real_new_key_gets_in_during_a_flood() -> None:
    """The budget is time and renews itself: the flood's own next fetch brings the new key."""
    cache = loaded()
    fetched_by_flood = False
    for i in range(1000):
        now = 5 + i * 0.001
        if isinstance(cache.lookup(f"random-{i}", "ES256", now=now), Fetch):
            fetched_by_flood = True
            cache.fetched(keys("one"), now=now)
    assert fetched_by_flood
    assert cache.lookup(TWO.kid, "ES256", now=9.9) == Unknown()

    assert cache.lookup(TWO.kid, "ES256", now=10) == Fetch()
    cache.fetched(keys("one", "two"), now=10.1)
    assert cache.lookup(TWO.kid, "ES256", now=10.1) == Use(TWO.public)


@pytest.mark.attack(row=59)
@pytest.mark.attack(row=68)
def test_a_failed_fetch_replaces_nothing_and_backs_off() -> None:
    """Exponential, with jitter, bounded; the last good set stays in use; there is no other set to fall back to."""
    cache = loaded()
    starts = []
    now = 300.0
    for _ in range(12):
        while not cache.refresh_due(now=now):
            now += 0.25
        starts.append(now)
        cache.fetch_failed(now=now, jitter=1.0)
        assert cache.lookup(ONE.kid, "ES256", now=now) == Use(ONE.public)

    gaps = [later - earlier for earlier, later in pairwise(starts)]

    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert cache.keys is not None


def test_the_jitter_shortens_the_back_off_by_half_at_most() -> None:
    """0 gives half, 1 the whole."""
    for jitter, wait in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        cache = loaded()
        cache.fetch_failed(now=300, jitter=jitter)

        assert cache.next_due() == 300 + wait
        assert not cache.refresh_due(now=300 + wait - 0.01)
        assert cache.refresh_due(now=300 + wait)


def test_an_outage_ends_the_use_of_old_keys_at_max_age() -> None:
    """Just before it is used, then never: 503, not 401 and not a stale key; and the epoch moves."""
    cache = loaded()
    cache.fetch_failed(now=3599, jitter=1.0)
    assert isinstance(cache.lookup(ONE.kid, "ES256", now=3599.9), Use)
    assert cache.usable_until() == 3600
    assert cache.is_ready(now=3599.9)
    before = cache.epoch

    action = cache.lookup(ONE.kid, "ES256", now=3600)

    assert isinstance(action, Fetch | NoKeys)
    assert cache.epoch == before + 1
    assert not cache.is_ready(now=3600)


def test_keys_that_are_unavailable_are_never_an_unknown_key() -> None:
    """A failed first fetch, or a failed look for a new `kid`: NoKeys with the time to wait (503), not Unknown (401)."""
    cold = KeyCache(POLICY)
    cold.fetch_failed(now=0, jitter=1.0)
    warm = loaded()
    assert warm.lookup("new", "ES256", now=6) == Fetch()
    warm.fetch_failed(now=6, jitter=1.0)

    assert cold.lookup(ONE.kid, "ES256", now=0.25) == NoKeys(0.75)
    assert warm.lookup("new", "ES256", now=6.5) == NoKeys(0.5)
    assert warm.lookup("new", "ES256", now=7) == Fetch()


def test_a_fetch_that_never_reports_is_lost_after_its_timeout() -> None:
    """A driver that died must not stop all others."""
    cache = KeyCache(POLICY)
    assert cache.lookup(ONE.kid, "ES256", now=0) == Fetch()

    assert cache.lookup(ONE.kid, "ES256", now=9.9) == Wait(10)
    assert cache.lookup(ONE.kid, "ES256", now=10) == Fetch()


def test_a_fetch_that_is_given_up_is_anybodys_at_once() -> None:
    """A driver that is closed says so; it is no failure, so nobody backs off."""
    cold, warm = KeyCache(POLICY), loaded()
    assert cold.lookup(ONE.kid, "ES256", now=0) == Fetch()
    assert warm.refresh_due(now=warm.next_due())

    cold.fetch_given_up()
    warm.fetch_given_up()

    assert cold.next_due() <= 0
    assert cold.lookup(ONE.kid, "ES256", now=0) == Fetch()
    assert warm.refresh_due(now=warm.next_due())
    assert (cold.failures, warm.failures) == (0, 0)


def test_the_epoch_moves_when_a_key_is_lost_or_changed_only() -> None:
    """A new key beside the old ones invalidates nothing."""
    cache = loaded("one")
    epochs = [cache.epoch]
    changed = jwk_set_of(
        [type(ONE.public)("ES256", ONE.kid, TWO.public.thumbprint, TWO.public.verify, TWO.public.members)]
    )
    for now, following in enumerate(
        (keys("one"), keys("one", "two"), keys("two"), keys("one", "two"), changed), start=1
    ):
        cache.fetched(following, now=now)
        epochs.append(cache.epoch)

    assert [later - earlier for earlier, later in pairwise(epochs)] == [0, 0, 1, 0, 1]


def test_a_key_that_disappeared_is_not_used_any_more() -> None:
    """The very next lookup."""
    cache = loaded("one", "two")
    assert isinstance(cache.lookup(ONE.kid, "ES256", now=1), Use)

    cache.fetched(keys("two"), now=2)

    assert cache.lookup(ONE.kid, "ES256", now=2) == Unknown()


def test_a_blocked_key_is_refused_although_the_issuer_still_publishes_it() -> None:
    """An emergency: at once, through refetches, until its time is over; also for tokens without `kid`."""
    cache = loaded("one")
    before = cache.epoch

    cache.block(ONE.kid, until=100, now=1)

    assert cache.epoch == before + 1
    assert cache.lookup(ONE.kid, "ES256", now=1) == Unknown()
    assert not isinstance(cache.lookup(None, "ES256", now=1), Use)
    cache.fetched(keys("one", "two"), now=2)
    assert cache.lookup(ONE.kid, "ES256", now=99.9) == Unknown()
    assert cache.lookup(TWO.kid, "ES256", now=2) == Use(TWO.public)
    assert cache.lookup(ONE.kid, "ES256", now=100) == Use(ONE.public)


def test_freshness_the_response_claims_is_kept_within_bounds() -> None:
    """`Cache-Control: max-age` may shorten or lengthen the interval, not abolish it."""
    for claimed, expected in ((None, 300), (0, 5), (60, 60), (500, 500), (10**9, 600)):
        cache = KeyCache(POLICY)
        cache.fetched(keys("one"), now=0, fresh_for=claimed)

        assert cache.next_due() == expected


def test_the_alg_is_part_of_the_name() -> None:
    """A known `kid` under another algorithm is unknown."""
    cache = loaded()

    assert cache.lookup(ONE.kid, "RS256", now=1) == Unknown()


def test_wrong_policies_are_refused_at_start() -> None:
    """Each value and the order between them."""
    for changes in (
        {"refresh_after": 0},
        {"max_age": 300, "refresh_after": 300},
        {"unknown_kid_interval": 0},
        {"fetch_timeout": -1},
        {"backoff_first": 0},
        {"backoff_first": 2, "backoff_longest": 1},
    ):
        with pytest.raises(ConfigurationError):
            KeyCachePolicy(**changes)


STEP = st.tuples(
    st.floats(min_value=0, max_value=2000),
    st.sampled_from(["known", "unknown", "refresh"]),
    st.sampled_from(["good", "rotated", "failed", "given up", "silent"]),
)


@given(st.lists(STEP, max_size=40))
def test_whatever_happens_at_most_one_fetch_is_under_way_and_no_key_outlives_max_age(
    steps: list[tuple[float, str, str]],
) -> None:
    """Any order of lookups, outcomes and pauses."""
    cache = KeyCache(POLICY)
    now, fetching_until, good_at = 0.0, float("-inf"), float("-inf")
    for pause, ask, outcome in steps:
        now += pause
        if ask == "refresh":
            started = cache.refresh_due(now=now)
        else:
            action = cache.lookup(ONE.kid if ask == "known" else "unknown", "ES256", now=now)
            started = isinstance(action, Fetch) or (isinstance(action, Use) and action.refresh)
            if isinstance(action, Use):
                assert now < good_at + POLICY.max_age
            if isinstance(action, Wait):
                assert now < action.until
            if isinstance(action, NoKeys):
                assert 0 <= action.retry_after <= POLICY.backoff_longest
        if started:
            assert now >= fetching_until
            fetching_until = now + POLICY.fetch_timeout
            if outcome in ("good", "rotated"):
                cache.fetched(keys("one") if outcome == "good" else keys("two"), now=now)
                fetching_until, good_at = now, now
            elif outcome == "failed":
                cache.fetch_failed(now=now, jitter=0.5)
                fetching_until = now
            elif outcome == "given up":
                cache.fetch_given_up()
                fetching_until = now
