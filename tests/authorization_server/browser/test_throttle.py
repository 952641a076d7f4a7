"""Delays that grow, per account and per address, and let the owner in."""

from __future__ import annotations

import pytest

from portero.authorization_server.sign_in.throttle import (
    ACCOUNT_CAP,
    ADDRESS_CAP,
    ADDRESS_FREE_ATTEMPTS,
    FORGET_AFTER,
    FREE_ATTEMPTS,
    MAX_ENTRIES,
    SignInThrottle,
)


def fail(throttle: SignInThrottle, times: int) -> None:
    """Let attempts fail one after the other."""
    for _ in range(times):
        assert throttle.begin(username="ana", address="a", at=0) == 0


def test_a_few_failures_cost_nothing() -> None:
    """Both sides of `FREE_ATTEMPTS`."""
    throttle = SignInThrottle()
    fail(throttle, FREE_ATTEMPTS)

    assert throttle.begin(username="ana", address="a", at=0) == 1


def test_the_delay_doubles_up_to_its_cap() -> None:
    """1, 2, 4, … and then no more: an account is never locked."""
    throttle = SignInThrottle()
    fail(throttle, FREE_ATTEMPTS)
    at, waits = 0.0, []
    for _ in range(8):
        waits.append(throttle.begin(username="ana", address="a", at=at))
        at += waits[-1]
        throttle.begin(username="ana", address="a", at=at)

    assert waits == [1, 2, 4, 8, 16, ACCOUNT_CAP, ACCOUNT_CAP, ACCOUNT_CAP]


def test_waiting_costs_nothing_and_counts_nothing() -> None:
    """Attempts during the delay do not prolong it."""
    throttle = SignInThrottle()
    fail(throttle, FREE_ATTEMPTS)
    for _ in range(100):
        throttle.begin(username="ana", address="a", at=0.5)

    assert throttle.begin(username="ana", address="a", at=1) == 0


def test_many_at_once_are_many() -> None:
    """An attempt counts before its password is looked at."""
    throttle = SignInThrottle()
    begun = [throttle.begin(username="ana", address="a", at=0) for _ in range(100)]

    assert begun.count(0) == FREE_ATTEMPTS


def test_strangers_do_not_hold_back_the_owner() -> None:
    """From an address where the account signed in before, only its own failures count."""
    throttle = SignInThrottle()
    throttle.begin(username="ana", address="home", at=0)
    throttle.succeeded(username="ana", address="home")
    for n in range(200):
        throttle.begin(username="ana", address=f"bot-{n}", at=0)

    assert throttle.begin(username="ana", address="elsewhere", at=0) > 0
    assert throttle.begin(username="ana", address="home", at=0) == 0


def test_an_address_that_tries_many_accounts_waits() -> None:
    """Both sides of `ADDRESS_FREE_ATTEMPTS`; up to a quarter of an hour."""
    throttle = SignInThrottle()
    for n in range(ADDRESS_FREE_ATTEMPTS):
        assert throttle.begin(username=f"u-{n}", address="a", at=0) == 0

    assert throttle.begin(username="one more", address="a", at=0) == 1
    assert throttle.begin(username="one more", address="b", at=0) == 0
    at = 0.0
    for n in range(30):
        at += throttle.begin(username=f"v-{n}", address="a", at=at)
        throttle.begin(username=f"v-{n}", address="a", at=at)
    assert throttle.begin(username="last", address="a", at=at) == ADDRESS_CAP


def test_an_account_of_ones_own_does_not_wash_an_address() -> None:
    """A success takes back its own attempt only."""
    throttle = SignInThrottle()
    for n in range(ADDRESS_FREE_ATTEMPTS):
        throttle.begin(username=f"u-{n}", address="a", at=0)
        if n % 4 == 0:
            throttle.begin(username="mine", address="a", at=0)
            throttle.succeeded(username="mine", address="a")

    assert throttle.begin(username="next", address="a", at=0) > 0


def test_a_success_forgives_the_account() -> None:
    """The person is there: their typing errors are forgotten."""
    throttle = SignInThrottle()
    fail(throttle, FREE_ATTEMPTS)
    assert throttle.begin(username="ana", address="a", at=1) == 0
    throttle.succeeded(username="ana", address="a")

    assert throttle.begin(username="ana", address="a", at=1) == 0


@pytest.mark.parametrize(("later", "waits"), [(0.5, True), (FORGET_AFTER + 1, False)])
def test_failures_are_forgotten(later: float, waits: bool) -> None:
    """After an hour without one."""
    throttle = SignInThrottle()
    fail(throttle, FREE_ATTEMPTS)

    assert waits == bool(throttle.begin(username="ana", address="a", at=later))


def test_memory_is_bounded() -> None:
    """Invented names push each other out; names of any length cost the same."""
    throttle = SignInThrottle()
    for n in range(MAX_ENTRIES + 10):
        throttle.begin(username=f"{n}", address=f"{n}", at=0)
        if n % 2:
            throttle.succeeded(username=f"{n}", address=f"{n}")

    assert max(len(throttle._accounts), len(throttle._addresses), len(throttle._known)) <= MAX_ENTRIES
