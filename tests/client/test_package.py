"""The package itself: its table, its events, what it shows and leaves behind (behaviours 57, 59, 60)."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from portero.client import TRANSITIONS, Auth, Cause, FileStore, RefreshUnavailable, SignInRequired, State
from portero.client.events import Event, Step, Transitioned
from portero.client.machine import next_state
from tests.client.world import PLAIN, Fault, World

LATER = 1800.0


@pytest.mark.behaviour(57)
def test_an_import_does_nothing() -> None:
    """No thread, no file, no network, no server room, and none of the optional packages."""
    program = (
        "import sys, threading, portero.client\n"
        "assert threading.active_count() == 1\n"
        "heavy = {'starlette', 'sqlalchemy', 'jinja2', 'keyring', 'requests', 'uvicorn', 'fastapi', 'argon2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.behaviour(59)
def test_the_table_is_deterministic_and_every_state_but_the_last_can_be_left() -> None:
    """One row for a state and a cause."""
    rows = [(source, row.cause) for row in TRANSITIONS for source in row.sources]

    assert len(rows) == len(set(rows))
    assert set(State) - {State.DISPOSED} == {source for source, _ in rows}
    assert set(Cause) == {row.cause for row in TRANSITIONS}


@pytest.mark.behaviour(44)
@pytest.mark.behaviour(59)
def test_nothing_a_refresh_does_leads_from_signed_out_into_a_session() -> None:
    """Only a sign-in, or what lies in the store, does."""
    ways_in = {cause for cause in Cause if next_state(State.SIGNED_OUT, cause) not in {None, State.DISPOSED}}

    assert {Cause.RESTORED, Cause.SIGN_IN, Cause.ADOPTED, Cause.SIGN_OUT} == ways_in


@pytest.mark.behaviour(25)
def test_of_the_failures_of_a_refresh_only_the_refusal_leads_out_of_the_session() -> None:
    """The table says so, whatever the code does."""
    assert State.SIGNED_OUT is next_state(State.REFRESHING, Cause.REFRESH_REFUSED)
    assert State.WAITING is next_state(State.REFRESHING, Cause.REFRESH_FAILED)


@pytest.mark.behaviour(59)
def test_every_change_is_an_event_with_a_cause_and_follows_the_table(world: World) -> None:
    """The whole life: in, refresh, failure, refresh, out."""
    session = world.session(sign_in=False)
    events: list[Event] = []
    session.on_event(events.append)
    world.sign_in(session)
    session.refresh()
    world.faults.append(Fault(status=503))
    with pytest.raises(RefreshUnavailable):
        session.refresh()
    world.clock.advance(60)
    session.refresh()
    session.sign_out()

    changes = [event for event in events if isinstance(event, Transitioned)]
    path = [State.SIGNED_OUT, *(change.target for change in changes)]
    assert all(path[n] is change.source for n, change in enumerate(changes))
    assert all(change.target is next_state(change.source, change.cause) for change in changes)
    assert all(change.reason for change in changes)
    assert [state.value for state in path[1:-1]] == [
        "signing_in",
        "signed_in",
        "refreshing",
        "signed_in",
        "refreshing",
        "waiting",
        "refreshing",
        "signed_in",
    ]


@pytest.mark.behaviour(59)
def test_no_token_is_in_logs_errors_addresses_or_reprs(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through a sign-in, a call, a refresh that fails, a refusal, with everything logged."""
    caplog.set_level(logging.DEBUG)
    session = world.session(sign_in=False, store=FileStore(tmp_path / "tokens.json"), dpop=False)
    events: list[Event] = []
    session.on_event(events.append)
    world.sign_in(session)
    secrets = _secrets(session)
    shown = [repr(session), repr(session.core.tokens), repr(session.token_info()), repr(session.core.store)]
    with httpx2.Client(auth=Auth(session), **PLAIN) as http:
        answer = http.get(f"{world.api}/orders?page=2")
        shown += [repr(http.auth), repr(answer), repr(answer.request.headers), str(answer.request.url)]
        world.advance(LATER)
        world.faults.append(Fault(lose=True))
        with pytest.raises(RefreshUnavailable) as unavailable:
            http.get(f"{world.api}/orders")
        session.refresh()
        secrets |= _secrets(session)
        world.faults.append(Fault(status=400, body=b'{"error":"invalid_grant","error_reason":"revoked"}'))
        world.advance(LATER)
        with pytest.raises(SignInRequired) as refused:
            http.get(f"{world.api}/orders")
    shown += [repr(unavailable.value), str(refused.value), caplog.text, *(repr(event) for event in events)]

    assert len(secrets) >= 4
    assert [secret[:6] for secret in secrets for text in shown if secret in text] == []
    assert all("?" not in (event.url or "") for event in events if isinstance(event, Step))


def _secrets(session: object) -> set[str]:
    tokens = session.core.tokens  # type: ignore[attr-defined]
    grant = tokens.grant
    return {secret.reveal() for secret in (grant.access_token, grant.refresh_token, grant.id_token) if secret}


@pytest.mark.behaviour(60)
def test_close_leaves_no_thread_and_no_listener_and_keeps_what_is_stored(world: World, tmp_path: Path) -> None:
    """The next program goes on."""
    path = tmp_path / "tokens.json"
    session = world.session(store=FileStore(path))
    session.refresh()
    heard: list[Event] = []
    session.on_event(heard.append)
    session.close()

    assert State.DISPOSED is session.state
    assert [thread.name for thread in threading.enumerate() if thread.name == "portero-refresh"] == []
    with pytest.raises(SignInRequired, match="disposed"):
        session.access_token()
    heard.clear()
    session.sign_out()
    assert heard == []
    world.session(store=FileStore(path), sign_in=False)


@pytest.mark.behaviour(60)
def test_a_program_that_ends_during_a_refresh_leaves_a_session_for_the_next(world: World, tmp_path: Path) -> None:
    """Closing is no sign-out: what lands then is not revoked, and the same attempt brings it again."""
    path = tmp_path / "tokens.json"
    session = world.session(store=FileStore(path))
    fault = Fault(commit=True, hold=threading.Event())
    world.faults.append(fault)

    def refresh() -> None:
        with pytest.raises(SignInRequired, match="disposed"):
            session.refresh()

    refreshing = threading.Thread(target=refresh)
    refreshing.start()
    assert fault.arrived.wait(60)
    session.close()
    refreshing.join(60)
    assert fault.hold is not None
    fault.hold.set()
    for thread in threading.enumerate():
        if thread.name == "portero-refresh":
            thread.join(60)

    world.session(store=FileStore(path), sign_in=False).refresh()
    assert [post.form["path"] for post in world.posts] == ["/token", "/token"]


@pytest.mark.behaviour(60)
def test_close_frees_whoever_waits(world: World) -> None:
    """A program that ends does not hang on a server that hangs."""
    session = world.session()
    world.advance(LATER)
    fault = Fault(hold=threading.Event())
    world.faults.append(fault)
    errors: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(SignInRequired) as caught:
            session.access_token()
        errors.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert fault.arrived.wait(60)
    session.close()
    waiting.join(60)
    assert len(errors) == 1
