"""What the profiles cost and catch in a bad network: the two rates of profile C, and that A and B have none."""

from __future__ import annotations

import random

import pytest

from portero.core.sessions.records import Profile
from tests.properties.simulation import Run, simulate

RUNS = 60


@pytest.mark.parametrize("profile", [Profile.BOUND, Profile.ATTEMPT], ids=lambda profile: profile.value)
def test_ten_percent_loss_signs_nobody_out_and_no_thief_stays(profile: Profile) -> None:
    """Six hours, three tabs without a lock, sleeping laptops."""
    rates = simulate(lambda dice: Run(profile, dice), runs=RUNS)
    print(f"{profile.value}: {rates}")

    assert rates.signed_out == 0
    assert rates.thief_alive == 0
    assert profile is not Profile.BOUND or rates.thief_longest == 0


@pytest.mark.parametrize("locked", [True, False], ids=["lock", "no lock"])
def test_the_rates_of_a_plain_client_are_printed(locked: bool) -> None:
    """Profile C, with and without a lock between the tabs: it does cost honest users, which is why it is off."""

    def make(dice: random.Random) -> Run:
        return Run(Profile.PLAIN, dice, locked=locked)

    rates = simulate(make, runs=RUNS)
    print(f"plain, {'lock' if locked else 'no lock'}: {rates}")

    assert rates.signed_out > 0
