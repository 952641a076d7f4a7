"""Every behaviour of a client has a test here, or a reason in README.md."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_each_behaviour_has_a_test_or_a_reason() -> None:
    """And none has both: a reason that is no longer true would be read as one."""
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    shown = {int(number) for number in re.findall(r"^@pytest\.mark\.behaviour\((\d+)\)$", tests, re.MULTILINE)}
    reasons = {int(number) for number in re.findall(r"^\| (\d+) \|", (HERE / "README.md").read_text(), re.MULTILINE)}

    assert shown | reasons == set(range(1, 67))
    assert shown & reasons == set()
