"""Issue "a refresh that loses no honest user and keeps no thief", proof 1: all interleavings of the pure machine."""

from __future__ import annotations

from typing import Any

import pytest

from portero.core.sessions.records import Profile
from portero.core.sessions.refresh import decide_refresh
from portero.core.sessions.refresh_outcome import Presented, RefreshOutcome, Reused, SoftDenied
from portero.core.sessions.refresh_table import Proof, Standing
from portero.core.transitions import Decision, FamilyAggregate
from portero.core.types import Digest
from tests.properties.explore import Explored, explore
from tests.properties.refresh_model import Model

ALL = 1_000_000
"""States; every complete exploration below needs far fewer."""


def _show(name: str, found: Explored) -> None:
    extent = "complete" if found.complete else f"to depth {found.depth}"
    print(f"{name}: {found.states} states, {found.steps} steps, {extent}")
    if found.counterexample is not None:
        print(found.counterexample)


@pytest.mark.parametrize("profile", [Profile.BOUND, Profile.ATTEMPT], ids=lambda profile: profile.value)
@pytest.mark.parametrize("window", [0, 1])
def test_no_honest_client_is_ever_signed_out(profile: Profile, window: int) -> None:
    """Three tabs without a lock; messages lost, repeated, reordered, late up to the generations kept (C.2)."""
    found = explore(Model(profile, tabs=3, window=window), max_states=ALL)
    _show(f"{profile.value}, honest", found)

    assert found.counterexample is None, str(found.counterexample)
    assert found.complete


def test_a_thief_without_the_key_gets_nothing() -> None:
    """Profile A: a copied token alone neither issues nor ends anything."""
    found = explore(Model(Profile.BOUND, tabs=2, thief=True), max_states=ALL)
    _show("bound, thief", found)

    assert found.counterexample is None, str(found.counterexample)
    assert found.complete


def test_a_thief_without_the_attempt_is_gone_after_two_refreshes() -> None:
    """Profile B: whatever he copies, whenever, from storage or from an answer on its way (two tabs, all states)."""
    found = explore(Model(Profile.ATTEMPT, tabs=2, thief=True), max_states=ALL)
    _show("attempt, thief", found)

    assert found.counterexample is None, str(found.counterexample)
    assert found.complete


def test_a_thief_among_three_tabs_is_gone_as_well() -> None:
    """Profile B, three tabs: to the depth that a bounded test reaches."""
    found = explore(Model(Profile.ATTEMPT, tabs=3, thief=True, window=0), max_states=150_000)
    _show("attempt, thief, three tabs", found)

    assert found.counterexample is None, str(found.counterexample)


def test_plain_clients_can_be_signed_out_without_a_thief() -> None:
    """Profile C: what the documentation warns of is real; the shortest way is printed."""
    model = Model(Profile.PLAIN, tabs=1, window=1)
    found = explore(model, max_states=ALL)
    _show("plain, honest", found)

    assert found.counterexample is not None
    assert "honest" in found.counterexample.law or "ends a session" in found.counterexample.law


# ── the counter-example of decision 0021, kept ───────────────────────────────────────


def test_a_second_try_with_the_old_attempt_would_let_a_thief_stay() -> None:
    """Who copied an answer that never arrived and used it first would be softly denied into safety (decision 0021)."""
    found = explore(Model(Profile.ATTEMPT, tabs=1, thief=True, second_try_is_fresh=False), max_states=ALL)
    _show("attempt, thief, second try with the old attempt", found)

    assert found.counterexample is not None
    assert found.counterexample.law == "a thief never outlives the honest user's own end"


def test_a_client_that_reads_token_and_attempt_apart_can_sign_itself_out() -> None:
    """Between the two reads another tab refreshes; the attempt made then proves nothing (decision 0021)."""
    found = explore(Model(Profile.ATTEMPT, tabs=2, reads_together=False), max_states=ALL)
    _show("attempt, token and attempt read apart", found)

    assert found.counterexample is not None
    assert "without a thief" in found.counterexample.law


# ── wrong tables are found out: the model can fail ───────────────────────────────────


def _without_attempts(aggregate: FamilyAggregate, presented: Presented, **rest: Any) -> Decision[RefreshOutcome]:
    """Strict rotation: a retry proves nothing (as if each request had its own attempt)."""
    family, token = aggregate.family, presented.token
    assert family is not None
    attempt = Digest((b"H" if token.generation == family.head.generation else b"?") * 32)
    return decide_refresh(aggregate, Presented(token, presented.client_id, attempt_digest=attempt), **rest)


def _parent_is_always_good(aggregate: FamilyAggregate, presented: Presented, **rest: Any) -> Decision[RefreshOutcome]:
    """The direct parent is answered with the same successor, whoever asks (one product's rule)."""
    family = aggregate.family
    assert family is not None
    parent = family.parent
    if parent is not None and parent.generation == presented.token.generation and parent.attempt_digest is not None:
        presented = Presented(presented.token, presented.client_id, attempt_digest=parent.attempt_digest)
    return decide_refresh(aggregate, presented, **rest)


def _never_theft(aggregate: FamilyAggregate, presented: Presented, **rest: Any) -> Decision[RefreshOutcome]:
    """Overlap instead of detection: a spent token is refused, and nothing more."""
    decision = decide_refresh(aggregate, presented, **rest)
    if isinstance(decision.result, Reused):
        return Decision(SoftDenied(Standing.SUPERSEDED, Proof.LATE))
    return decision


def test_the_model_finds_that_strict_rotation_loses_honest_users() -> None:
    """A lost answer and a retry end the session: the failure most of the field has (C.5 "strict")."""
    found = explore(Model(Profile.ATTEMPT, tabs=1, decide=_without_attempts), max_states=ALL)
    _show("strict", found)

    assert found.counterexample is not None
    assert "without a thief" in found.counterexample.law


@pytest.mark.parametrize("wrong", [_parent_is_always_good, _never_theft], ids=["parent is always good", "never theft"])
def test_the_model_finds_tables_that_keep_a_thief(wrong: Any) -> None:
    """A rule that answers or forgives whoever asks lets him outlive two refreshes (C.5 "parent", "newsucc")."""
    found = explore(Model(Profile.ATTEMPT, tabs=1, thief=True, decide=wrong), max_states=ALL)
    _show(wrong.__name__, found)

    assert found.counterexample is not None
    assert "thief" in found.counterexample.law


def test_a_counterexample_reads_as_a_story() -> None:
    """Each step has its actor, its token by generation, and what came of it."""
    found = explore(Model(Profile.ATTEMPT, tabs=1, decide=_without_attempts), max_states=ALL)

    story = str(found.counterexample)

    assert story.startswith('broken: "without a thief')
    assert "tab A    sends token 0 with the stored attempt" in story
    assert "law      looks at storage token 0" in story
    assert "→ the successor 1" in story
