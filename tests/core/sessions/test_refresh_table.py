"""The table itself: every case has one row, and what is printed is the table."""

from __future__ import annotations

import pytest

from portero.core.sessions.refresh_table import TABLE, Action, Proof, Standing, as_markdown, as_mermaid, row_for

SPENT_PROOFS = {
    Standing.ROTATED: {Proof.PROVEN, Proof.RECENT, Proof.LATE, Proof.SHARED},
    Standing.SUPERSEDED: {Proof.PROVEN, Proof.RECENT, Proof.LATE},
}


@pytest.mark.parametrize("standing", Standing)
def test_every_case_has_exactly_one_row(standing: Standing) -> None:
    """A standing asks for proof in all its kinds, or not at all."""
    proofs = [row.proof for row in TABLE if row.standing is standing]

    assert set(proofs) == SPENT_PROOFS.get(standing, {Proof.ANY})
    assert len(proofs) == len(set(proofs))


def test_only_a_spent_token_ends_a_session() -> None:
    """Nothing but an unproven, late use (or sharing) is reuse."""
    ending = {(row.standing, row.proof) for row in TABLE if row.action is Action.END}

    assert ending == {
        (Standing.ROTATED, Proof.LATE),
        (Standing.ROTATED, Proof.SHARED),
        (Standing.SUPERSEDED, Proof.LATE),
    }


def test_a_superseded_token_never_issues() -> None:
    """Grandparents get nothing, whatever speaks for them."""
    actions = {row_for(Standing.SUPERSEDED, proof).action for proof in SPENT_PROOFS[Standing.SUPERSEDED]}

    assert actions == {Action.SOFT_DENY, Action.END}


def test_the_reference_prints_every_row() -> None:
    """The page is made from the rows, in their order."""
    lines = as_markdown().splitlines()[2:]

    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [row.standing.value for row in TABLE]
    assert all(line.count("|") == 5 for line in lines)


def test_the_diagram_has_every_move() -> None:
    """A state diagram of the stored states, with reuse leading to the end."""
    diagram = as_mermaid()

    assert diagram.startswith("stateDiagram-v2\n")
    assert "HEAD --> ROTATED: rotate" in diagram
    assert "SUPERSEDED --> ENDED: end the session" in diagram
    assert "HEAD --> ENDED" not in diagram
