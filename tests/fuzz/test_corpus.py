"""What the fuzzer has found, and what it starts from, keeps being answered by documented errors alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_seed_is_accepted(name: str) -> None:
    """A target whose first seed is refused would leave the fuzzer at the door."""
    accepted = [TARGETS[name].run(seed) for seed in TARGETS[name].seeds]

    assert all(accepted[:1])


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_only_documented_errors_come_out(name: str) -> None:
    """Every kept input, every seed, and every seed cut short."""
    target = TARGETS[name]
    inputs = [path.read_bytes() for path in KEPT if path.parent.name == name]
    inputs += [seed[:length] for seed in target.seeds for length in range(0, len(seed), max(1, len(seed) // 40))]

    for data in inputs:
        target.run(data)


def test_every_kept_input_belongs_to_a_target() -> None:
    """A renamed target does not leave its corpus behind unread."""
    assert {path.parent.name for path in KEPT} <= TARGETS.keys()
