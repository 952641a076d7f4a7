"""Several programs on one token file, and several sessions on one machine (behaviours 29, 32 to 38, 43 to 50, 62)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from portero.client import (
    Auth,
    ClientLimits,
    FileStore,
    RefreshUnavailable,
    Session,
    SignInRequired,
    State,
    StoreUnavailable,
)
from portero.client.stores.locks import locked
from portero.client.tokens import parse_tokens
from tests.authorization_server.back_channel import ANA
from tests.client.world import PLAIN, Fault, World

LATER = 1800.0
QUICK = ClientLimits(lock=0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A token file."""
    return tmp_path / "folder" / "tokens.json"


def refresh_token_of(path: Path) -> str:
    tokens = parse_tokens(path.read_text())
    assert tokens is not None
    assert tokens.refresh_token is not None
    return tokens.refresh_token.reveal()


def processes(world: World, path: Path, *, many: int, calls: int) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.client.child", world.issuer, world.api, str(path), str(calls)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(many)]
    for child in started:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    return started


@pytest.mark.behaviour(32)
@pytest.mark.behaviour(62)
def test_four_processes_on_one_token_file_are_one_refresh(world: World, path: Path) -> None:
    """Each with five threads: one POST, twenty successes."""
    world.clock.set_wall(_system_time())
    world.session(store=FileStore(path))
    world.advance(LATER, client=False)
    children = processes(world, path, many=4, calls=5)
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=60)[0].split() for child in children]

    assert said == [["200"] * 5] * 4
    assert len(world.posts) == 1


@pytest.mark.behaviour(38)
@pytest.mark.behaviour(30)
def test_a_process_that_is_killed_in_the_middle_of_a_refresh_leaves_a_session_that_goes_on(
    world: World, path: Path
) -> None:
    """Its lock ends with it, and its attempt is on the disk."""
    world.clock.set_wall(_system_time())
    world.session(store=FileStore(path))
    world.advance(LATER, client=False)
    fault = Fault(commit=True, hold=threading.Event(), lose=True)
    world.faults.append(fault)
    (child,) = processes(world, path, many=1, calls=1)
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    assert fault.arrived.wait(60)
    child.kill()
    child.communicate(timeout=60)
    assert fault.hold is not None
    fault.hold.set()

    next_one = world.session(store=FileStore(path), sign_in=False)
    next_one.refresh()
    first, second = world.refreshes
    assert (first.form, first.answer["refresh_token"]) == (second.form, second.answer["refresh_token"])


@pytest.mark.behaviour(32)
def test_ten_sessions_of_one_file_are_one_refresh_for_each_cycle(world: World, path: Path) -> None:
    """Whoever is second finds the tokens of the first."""
    sessions = [world.session(store=FileStore(path))]
    sessions += [world.session(store=FileStore(path), sign_in=False) for _ in range(9)]
    for cycle in (1, 2, 3):
        world.advance(LATER)
        with ThreadPoolExecutor(10) as pool:
            tokens = list(pool.map(lambda session: session.access_token().reveal(), sessions))
        assert (1, cycle) == (len(set(tokens)), len(world.posts))


@pytest.mark.behaviour(33)
def test_with_the_lock_held_by_a_frozen_process_the_wait_is_bounded_and_all_succeed(world: World, path: Path) -> None:
    """And still one attempt: it is not the lock that makes the refresh safe."""
    sessions = [world.session(store=FileStore(path), limits=QUICK)]
    sessions += [world.session(store=FileStore(path), sign_in=False, limits=QUICK) for _ in range(3)]
    world.advance(LATER)
    with locked(path.with_name("tokens.json.lock"), 1) as held, ThreadPoolExecutor(4) as pool:
        assert held
        tokens = {token.reveal() for token in pool.map(lambda session: session.access_token(), sessions)}

    assert tokens
    assert len({post.form["refresh_attempt"] for post in world.refreshes}) == 1
    assert {200} == {post.status for post in world.refreshes}
    assert len({post.answer["refresh_token"] for post in world.refreshes}) == 1


@pytest.mark.behaviour(33)
def test_where_locks_and_links_are_impossible_one_process_is_still_safe(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that knows neither: the attempt lives in the process."""
    session = world.session(store=FileStore(path))
    world.advance(LATER)

    def impossible(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(Path, "hardlink_to", impossible)
    monkeypatch.setattr("portero.client.stores.locks._try_to_lock", lambda _file: False)
    session.core.config = world.config(limits=QUICK)
    world.faults.append(Fault(commit=True, lose=True))
    with pytest.raises(RefreshUnavailable):
        session.access_token()
    session.access_token()

    assert len({post.form["refresh_attempt"] for post in world.refreshes}) == 1


@pytest.mark.behaviour(34)
def test_no_listener_runs_inside_a_lock(world: World, path: Path) -> None:
    """One that calls back, and one that raises, harm nothing."""
    session = world.session(store=FileStore(path))
    free: list[bool] = []

    def calls_back(_event: object) -> None:
        with locked(path.with_name("tokens.json.lock"), 0) as held:
            free.append(held)
        session.token_info()

    def fails(_event: object) -> None:
        raise ValueError("a bug of the application")

    session.on_event(fails)
    session.on_event(calls_back)
    world.advance(LATER)

    session.refresh()
    assert {True} == set(free)


@pytest.mark.behaviour(35)
def test_when_a_refresh_is_told_its_tokens_are_in_the_store(world: World, path: Path) -> None:
    """Committed before announced."""
    session = world.session(store=FileStore(path))
    seen: list[str] = []
    told = threading.Event()

    def look(event: object) -> None:
        if getattr(event, "target", None) is State.SIGNED_IN:
            seen.append(refresh_token_of(path))
            told.set()

    session.on_event(look)
    session.refresh()
    assert told.wait(60)

    assert [world.refreshes[0].answer["refresh_token"]] == seen


@pytest.mark.behaviour(37)
def test_a_store_that_is_full_serves_this_process_and_harms_no_other(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refresh goes on in memory; the next process sends the same attempt and gets the same answer."""
    session = world.session(store=FileStore(path))
    world.advance(LATER)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("portero.client.stores.file.write_whole", full)
        mine = session.access_token().reveal()
        assert mine == session.access_token().reveal()
    other = world.session(store=FileStore(path), sign_in=False)
    other.access_token()

    first, second = world.refreshes
    assert first.answer["refresh_token"] == second.answer["refresh_token"]


@pytest.mark.behaviour(37)
def test_a_sign_in_that_cannot_be_stored_says_so_and_leaves_nothing(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens are revoked: nobody would find them."""
    session = world.session(store=FileStore(path), sign_in=False)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("portero.client.stores.file.write_whole", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        world.sign_in(session)
    assert State.SIGNED_OUT is session.state
    assert world.posts[-1].form["path"] == "/revoke"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_the_file_is_its_owners_alone(world: World, path: Path) -> None:
    """0600 in a folder of 0700, and one that others may read is refused."""
    world.session(store=FileStore(path))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    path.chmod(0o644)
    with pytest.raises(StoreUnavailable, match="read by others"):
        Session(world.config(), store=FileStore(path))


@pytest.mark.behaviour(43)
def test_a_sign_out_is_one_even_when_the_server_cannot_be_told(world: World, path: Path) -> None:
    """Wipe first, then tell, best effort."""
    session = world.session(store=FileStore(path))
    session.core.config = world.config(issuer="http://127.0.0.1:9")
    session.sign_out()

    assert (session.state, path.exists()) == (State.SIGNED_OUT, False)


@pytest.mark.behaviour(43)
def test_a_sign_out_revokes_at_the_server(world: World, path: Path) -> None:
    """Whoever had copied the file has nothing."""
    session = world.session(store=FileStore(path))
    copied = refresh_token_of(path)
    session.sign_out()

    assert (
        world.server.post(
            "/token",
            {
                "grant_type": "refresh_token",
                "refresh_token": copied,
                "refresh_attempt": "A" * 22,
                "client_id": "reports",
            },
        ).json["error_reason"]
        == "revoked"
    )


def sign_out_during_a_refresh(world: World, session: Session) -> tuple[BaseException | None, Callable[[], None]]:
    """What the call that waited ended with; and what lets the answer land, and waits until it is dropped."""
    world.advance(LATER)
    hold, dropped = threading.Event(), threading.Event()
    fault = Fault(commit=True, hold=hold)
    world.faults.append(fault)
    session.on_event(lambda event: dropped.set() if getattr(event, "name", "") == "refresh.dropped" else None)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.access_token)
        assert fault.arrived.wait(60)
        session.sign_out()
        error = waiting.exception(60)

    def land() -> None:
        hold.set()
        assert dropped.wait(60)

    return error, land


@pytest.mark.behaviour(44)
def test_a_refresh_that_lands_after_the_sign_out_is_dropped_and_revoked(world: World, path: Path) -> None:
    """Signed out stays signed out, in memory and in the store, and at the server."""
    session = world.session(store=FileStore(path))
    error, land = sign_out_during_a_refresh(world, session)
    assert isinstance(error, SignInRequired)
    assert error.reason == "user"
    land()

    assert (session.state, path.exists(), session.token_info()) == (State.SIGNED_OUT, False, None)
    with pytest.raises(SignInRequired):
        session.access_token()


@pytest.mark.behaviour(44)
def test_a_new_sign_in_right_after_a_sign_out_is_not_disturbed_by_the_old_refresh(world: World, path: Path) -> None:
    """What lands belongs to the sign-in that began it."""
    session = world.session(store=FileStore(path))
    error, land = sign_out_during_a_refresh(world, session)
    assert error
    world.sign_in(session)
    mine = session.access_token().reveal()
    land()

    assert mine == session.access_token().reveal()
    world.advance(LATER)
    session.access_token()


@pytest.mark.behaviour(46)
@pytest.mark.behaviour(49)
def test_the_other_programs_learn_of_a_sign_out_with_their_next_call(world: World, path: Path) -> None:
    """And nobody answers it: one revocation."""
    first = world.session(store=FileStore(path))
    others = [world.session(store=FileStore(path), sign_in=False) for _ in range(3)]
    first.sign_out()

    for other in others:
        with httpx2.Client(auth=Auth(other), **PLAIN) as http, pytest.raises(SignInRequired):
            http.get(f"{world.api}/orders")
        assert State.SIGNED_OUT is other.state
    assert world.requests == []
    assert [post.form["path"] for post in world.posts] == ["/revoke"]


@pytest.mark.behaviour(46)
def test_a_sign_out_elsewhere_stops_the_refresh_of_this_program(world: World, path: Path) -> None:
    """What it brings is dropped."""
    mine = world.session(store=FileStore(path), limits=QUICK)
    other = world.session(store=FileStore(path), sign_in=False)
    world.advance(LATER)
    fault = Fault(commit=True, hold=threading.Event())
    world.faults.append(fault)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mine.access_token)
        assert fault.arrived.wait(60)
        other.sign_out()
        assert fault.hold is not None
        fault.hold.set()
        assert isinstance(waiting.exception(60), SignInRequired)

    assert (mine.state, path.exists()) == (State.SIGNED_OUT, False)


@pytest.mark.behaviour(47)
def test_another_person_who_signs_in_elsewhere_is_the_person_of_this_program_too(world: World, path: Path) -> None:
    """And listeners hear `user_changed` first, so that nothing of Ana's is shown to Bob."""
    from dataclasses import replace

    from portero.core.transitions import SubjectKey
    from portero.core.types import Subject

    bob = replace(ANA, subject=Subject("bob"), username="bob")
    world.server.put(SubjectKey(bob.subject), bob)
    mine = world.session(store=FileStore(path))
    heard: list[str] = []
    mine.on_event(lambda event: heard.append(event.cause.value) if hasattr(event, "cause") else None)
    other = world.session(store=FileStore(path), sign_in=False)
    other.sign_out()
    path.write_text(_as_somebody_else(other, world))
    path.chmod(0o600)

    mine.access_token()
    assert heard == ["user_changed", "adopted"]
    info = mine.token_info()
    assert info is not None
    assert info.sub == "bob"


def _as_somebody_else(other: Session, world: World) -> str:
    """What the file holds after Bob has signed in with another program."""
    from dataclasses import replace

    from portero.client.tokens import render_tokens

    world.sign_in(other)
    assert other.core.tokens is not None
    return render_tokens(replace(other.core.tokens, sub="bob", login="another"))


@pytest.mark.behaviour(50)
def test_two_accounts_on_one_machine_know_nothing_of_each_other(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of their files hold issuer, client and account; ending one leaves the other."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    names = [world.config(account=account).name for account in ("work", "home")]
    work, home = (
        world.session(sign_in=False, store=FileStore.for_session(name), account=account)
        for name, account in zip(names, ("work", "home"), strict=True)
    )
    world.sign_in(work, browser_session=world.browser("work"))
    world.sign_in(home, browser_session=world.browser("home"))
    work.sign_out()

    home.refresh()
    assert (work.state, home.state) == (State.SIGNED_OUT, State.SIGNED_IN)


def test_old_attempts_are_swept(world: World, path: Path) -> None:
    """After a week nobody can hold the token any more."""
    session = world.session(store=FileStore(path))
    session.refresh()
    attempts = path.with_name("tokens.json.attempts")
    (old,) = attempts.iterdir()
    os.utime(old, (0, 0))

    session.refresh()
    assert old not in set(attempts.iterdir())
    assert len(list(attempts.iterdir())) == 1


def _system_time() -> float:
    import time

    return time.time()
