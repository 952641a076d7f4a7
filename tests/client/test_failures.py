"""What a failed refresh means, and what it does not (behaviours 21, 25 to 31, 64)."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from portero.client import ClientLimits, FileStore, RefreshUnavailable, Session, SignInRequired, State
from tests.client.world import Fault, World

LATER = 1800.0
HTML = b"<html>Welcome to Hotel Wi-Fi</html>"
TRANSIENT = [
    pytest.param(Fault(status=500), "server_error", id="500"),
    pytest.param(Fault(status=502, body=HTML), "server_error", id="502 with a page"),
    pytest.param(
        Fault(status=503, body=b'{"error":"invalid_grant"}'), "server_error", id="503 that quotes invalid_grant"
    ),
    pytest.param(Fault(status=429, body=b'{"error":"invalid_grant"}'), "rate_limited", id="429"),
    pytest.param(Fault(status=200, body=HTML), "bad_answer", id="captive portal"),
    pytest.param(Fault(status=302, headers=(("location", "http://127.0.0.1:9/"),)), "network", id="redirect"),
    pytest.param(Fault(status=200, body=b'{"access_token":'), "bad_answer", id="bad JSON"),
    pytest.param(Fault(status=200, body=b"[]"), "bad_answer", id="no object"),
    pytest.param(Fault(status=401, body=b'{"error":"invalid_client"}'), "client_refused", id="invalid_client"),
    pytest.param(Fault(status=400, body=b'{"error":"invalid_request"}'), "client_refused", id="invalid_request"),
    pytest.param(Fault(lose=True), "network", id="connection lost"),
]


@pytest.mark.behaviour(25)
@pytest.mark.behaviour(31)
@pytest.mark.behaviour(64)
@pytest.mark.parametrize(("fault", "reason"), TRANSIENT)
def test_a_passing_failure_keeps_the_session_and_the_next_refresh_sends_the_same_attempt(
    world: World, fault: Fault, reason: str
) -> None:
    """Only `invalid_grant` signs out; the refresh token stays until the server rejects it."""
    session = world.session()
    world.advance(LATER)
    world.faults.append(replace(fault, arrived=threading.Event()))

    with pytest.raises(RefreshUnavailable) as caught:
        session.access_token()
    assert (reason, State.WAITING) == (caught.value.reason, session.state)

    world.clock.advance(60)
    session.access_token()
    assert State.SIGNED_IN is session.state
    first, second = world.refreshes
    assert first.form == second.form


@pytest.mark.behaviour(25)
def test_a_server_that_is_not_there_keeps_the_session(world: World) -> None:
    """Offline is no sign-out."""
    session = world.session()
    world.advance(LATER)
    there = session.core.config
    session.core.config = replace(there, issuer="http://127.0.0.1:9")

    with pytest.raises(RefreshUnavailable, match="network"):
        session.access_token()
    session.core.config = there
    session.access_token()


@pytest.mark.behaviour(25)
@pytest.mark.parametrize("reason", ["expired", "revoked", "reused", "invalid_grant"])
def test_a_refusal_ends_the_session_with_its_reason(world: World, tmp_path: Path, reason: str) -> None:
    """`invalid_grant` is the one answer that does."""
    store = FileStore(tmp_path / "tokens.json")
    session = world.session(store=store)
    world.advance(LATER)
    said = "" if reason == "invalid_grant" else f',"error_reason":"{reason}"'
    world.faults.append(Fault(status=400, body=f'{{"error":"invalid_grant"{said}}}'.encode()))

    with pytest.raises(SignInRequired) as caught:
        session.access_token()
    assert (reason, State.SIGNED_OUT, None) == (caught.value.reason, session.state, store.read())


@pytest.mark.behaviour(26)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_to_the_second(world: World, status: int) -> None:
    """No request before, one after."""
    session = world.session()
    world.advance(LATER)
    world.faults.append(Fault(status=status, headers=(("retry-after", "7"),)))
    with pytest.raises(RefreshUnavailable) as caught:
        session.access_token()
    assert caught.value.retry_after == 7

    world.clock.advance(6.9)
    with pytest.raises(RefreshUnavailable) as caught:
        session.access_token()
    assert (caught.value.retry_after, len(world.posts)) == (1, 1)

    world.clock.advance(0.2)
    session.access_token()
    assert len(world.posts) == 2


@pytest.mark.behaviour(27)
def test_the_back_off_grows_and_a_dead_network_may_be_tried_at_any_time(world: World) -> None:
    """A server that is unwell is left alone for longer each time; nothing says so of a network."""
    session = world.session()
    world.advance(LATER)
    waits = []
    for _ in range(4):
        world.faults.append(Fault(status=500))
        with pytest.raises(RefreshUnavailable):
            session.access_token()
        with pytest.raises(RefreshUnavailable) as caught:
            session.access_token()
        waits.append(caught.value.retry_after)
        world.clock.advance(caught.value.retry_after or 0)
    assert sorted(waits, key=lambda wait: wait or 0) == waits
    assert waits[-1] is not None
    assert waits[-1] >= 4
    assert len(world.posts) == 4

    world.faults.append(Fault(lose=True))
    with pytest.raises(RefreshUnavailable, match="network"):
        session.access_token()
    session.access_token()


@pytest.mark.behaviour(29)
def test_refused_it_first_looks_whether_another_process_has_rotated_and_takes_that_over(
    world: World, tmp_path: Path
) -> None:
    """The answer to an old token says nothing of the new one."""
    path = tmp_path / "tokens.json"
    mine = world.session(store=FileStore(path))
    theirs = world.session(store=FileStore(path), sign_in=False)
    world.advance(LATER)
    fault = Fault(status=400, body=b'{"error":"invalid_grant","error_reason":"superseded"}', hold=threading.Event())
    world.faults.append(fault)
    refused: list[object] = []
    thread = threading.Thread(target=lambda: refused.append(mine.access_token().reveal()))
    # Only one of them is in the lock; the other has given up waiting for it.
    mine.core.store._lock = tmp_path / "another.lock"  # type: ignore[attr-defined]
    thread.start()
    assert fault.arrived.wait(60)
    theirs.access_token()
    assert fault.hold is not None
    fault.hold.set()
    thread.join(60)

    assert [theirs.access_token().reveal()] == refused


@pytest.mark.behaviour(30)
@pytest.mark.behaviour(31)
def test_an_answer_that_was_lost_after_the_commit_comes_again(world: World) -> None:
    """The same attempt gets the same successor; the user stays in, the family lives."""
    session = world.session()
    world.advance(LATER)
    world.faults.append(Fault(commit=True, lose=True))
    with pytest.raises(RefreshUnavailable, match="network"):
        session.access_token()

    session.access_token()
    lost, given = world.refreshes
    assert lost.answer["refresh_token"] == given.answer["refresh_token"]
    world.advance(LATER)
    session.access_token()
    assert State.SIGNED_IN is session.state


@pytest.mark.behaviour(30)
def test_an_answer_that_was_lost_with_its_process_comes_again_to_the_next_one(world: World, tmp_path: Path) -> None:
    """The attempt was on the disk before it was sent."""
    path = tmp_path / "tokens.json"
    first = world.session(store=FileStore(path))
    world.advance(LATER)
    world.faults.append(Fault(commit=True, lose=True))
    with pytest.raises(RefreshUnavailable):
        first.access_token()
    first.close()

    second = world.session(store=FileStore(path), sign_in=False)
    second.access_token()
    lost, given = world.refreshes
    assert lost.answer["refresh_token"] == given.answer["refresh_token"]


@pytest.mark.behaviour(30)
@pytest.mark.parametrize("granted", [True, False], ids=["then granted", "again superseded"])
def test_superseded_waits_out_the_window_asks_once_more_and_then_signs_in(world: World, granted: bool) -> None:
    """Two tries, the second with another attempt (decision 0021); never a third."""
    session = world.session(limits=ClientLimits(superseded=0.01))
    world.advance(LATER)
    superseded = Fault(status=400, body=b'{"error":"invalid_grant","error_reason":"superseded"}')
    world.faults += [superseded] if granted else [superseded, superseded]

    if granted:
        session.access_token()
    else:
        with pytest.raises(SignInRequired, match="superseded"):
            session.access_token()
    first, second = (post.form["refresh_attempt"] for post in world.refreshes)
    assert first != second
    assert len(world.posts) == 2


@pytest.mark.behaviour(31)
@pytest.mark.behaviour(66)
def test_whatever_fails_one_refresh_token_never_goes_out_with_two_attempts(world: World, tmp_path: Path) -> None:
    """Across failures, and across the sessions of one file."""
    path = tmp_path / "tokens.json"
    sessions: list[Session] = [world.session(store=FileStore(path))]
    sessions += [world.session(store=FileStore(path), sign_in=False) for _ in range(2)]
    world.advance(LATER)
    world.faults += [Fault(lose=True), Fault(status=500), Fault(commit=True, lose=True)]
    for session in sessions:
        with pytest.raises(RefreshUnavailable):
            session.access_token()
    world.clock.advance(60)
    for session in sessions:
        session.access_token()

    attempts = {(post.form["refresh_token"], post.form["refresh_attempt"]) for post in world.refreshes}
    assert len(attempts) == 1
