"""One subscription for all processes of a host: a relay over a Unix socket, who serves it, and how one does without."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from portero.adapters.system import SystemClock
from portero.core.errors import ConfigurationError, Unavailable
from portero.resource_server import FeedStart, Guard, RevocationFeed, relay
from portero.resource_server.issuers import TrustedIssuer
from portero.resource_server.relay import Relay, RelayedIssuer
from portero.resource_server.relay_socket import ServingLock, check_believable, is_served, listening
from portero.testing.jwks_server import Behaviour, JwksServer
from portero.testing.tokens import AUDIENCE
from tests.resource_server.test_drivers import DRIVERS, Checked, admitted, until

STREAM = "/revocations/stream"
SNAPSHOT = "/revocations/snapshot"


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower notices that it is closed at the next heartbeat."""
    monkeypatch.setattr(relay, "HEARTBEAT_SECONDS", 0.05)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r") / "feed.sock"


def feed_by(server: JwksServer, path: Path, *, serve: bool = False, stale_after: float = 10.0) -> RevocationFeed:
    return replace(server.feed(stale_after=stale_after), relay=path, serve_relay=serve)


@contextmanager
def relayed(server: JwksServer, path: Path, *, stale_after: float = 10.0, of: type[Relay] = Relay) -> Iterator[None]:
    """A relay of its own, as `portero feed relay` runs it."""
    lock = ServingLock.taken(path)
    assert lock is not None
    made = listening(lock, mode=0o600)
    loop = asyncio.new_event_loop()
    followed = RelayedIssuer(TrustedIssuer(server.url), server.feed(stale_after=stale_after))

    async def run() -> None:
        await of([followed], clock=SystemClock()).run(made)

    task = loop.create_task(run())

    def work() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(8)
        loop.close()
        lock.release()


@contextmanager
def workers(driver: Any, feed: RevocationFeed, server: JwksServer, number: int) -> Iterator[list[Checked]]:
    """Guards as so many worker processes would have them."""
    with ExitStack() as stack:
        started = []
        for _ in range(number):
            guard = Guard(
                issuers=[server.url], audience=AUDIENCE, revocation=feed, startup_patience=timedelta(seconds=8)
            )
            checked = driver(guard)
            stack.callback(checked.close)
            started.append(checked)
        yield started


def refused_everywhere(server: JwksServer, started: list[Checked], sid: str) -> Callable[[], bool]:
    token = server.issuer.mint(sid=sid)
    return lambda: not any(admitted(checked, token) for checked in started)


@pytest.mark.parametrize("driver", DRIVERS)
def test_workers_share_one_subscription(driver: Any, server: JwksServer, path: Path) -> None:
    """The issuer sees one stream and one snapshot; each worker knows what was taken back before and after its start."""
    server.issuer.revoke(sid="before")
    with relayed(server, path), workers(driver, feed_by(server, path), server, 4) as started:
        assert refused_everywhere(server, started, "before")()
        assert all(admitted(checked, server.issuer.mint(sid="after")) for checked in started)

        server.issuer.revoke(sid="after")
        until(refused_everywhere(server, started, "after"))

        assert (server.asked[SNAPSHOT], server.asked[STREAM]) == (1, 1)


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_first_worker_serves_the_others(driver: Any, server: JwksServer, path: Path) -> None:
    """Where the setting says so, nobody has to run a relay: and its socket is its user's alone."""
    with workers(driver, feed_by(server, path, serve=True), server, 4) as started:
        server.issuer.revoke(sid="s1")
        until(refused_everywhere(server, started, "s1"))

        assert (server.asked[SNAPSHOT], server.asked[STREAM]) == (1, 1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not is_served(path)
    assert not path.exists()


@pytest.mark.parametrize("driver", DRIVERS)
def test_when_the_serving_worker_goes_the_others_miss_nothing(driver: Any, server: JwksServer, path: Path) -> None:
    """Another stands in, and until it serves each follows the issuer from its own cursor, without a new snapshot."""
    feed = feed_by(server, path, serve=True)
    with ExitStack() as serving:
        serving.enter_context(workers(driver, feed, server, 1))
        with workers(driver, feed, server, 2) as started:
            token = server.issuer.mint(sid="s1")
            assert all(admitted(checked, token) for checked in started)
            serving.close()
            server.issuer.revoke(sid="s1")
            until(refused_everywhere(server, started, "s1"))
            until(lambda: is_served(path))

            # One of the first relay, one of the second, which starts without knowledge.
            until(lambda: server.asked[SNAPSHOT] == 2)


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_a_relay_a_worker_follows_the_issuer_at_once(driver: Any, server: JwksServer, path: Path) -> None:
    """A missing relay is no outage, and no reason to wait."""
    with workers(driver, feed_by(server, path), server, 1) as started:
        server.issuer.revoke(sid="s1")
        until(refused_everywhere(server, started, "s1"))

        assert server.asked[STREAM] == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_relay_that_ends_is_replaced_by_the_issuer_without_a_gap(driver: Any, server: JwksServer, path: Path) -> None:
    """The cursors are the same: the stream of the issuer goes on where the relay's was cut."""
    with ExitStack() as stack:
        running = stack.enter_context(ExitStack())
        running.enter_context(relayed(server, path))
        started = stack.enter_context(workers(driver, feed_by(server, path), server, 2))
        token = server.issuer.mint(sid="s1")
        assert all(admitted(checked, token) for checked in started)
        running.close()
        server.issuer.revoke(sid="s1")
        until(refused_everywhere(server, started, "s1"))

        assert server.asked[SNAPSHOT] == 1
        assert server.asked[STREAM] == 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_relay_that_follows_another_issuer_is_not_taken_for_an_empty_feed(
    driver: Any, server: JwksServer, path: Path
) -> None:
    """Two services of one host with different issuers and one path: each still learns of its own."""
    with JwksServer() as other, relayed(other, path):
        server.issuer.revoke(sid="s1")
        with workers(driver, feed_by(server, path), server, 1) as started:
            assert refused_everywhere(server, started, "s1")()
            assert server.asked[SNAPSHOT] == 1


def test_a_relay_that_lost_the_issuer_does_not_make_old_knowledge_fresh(server: JwksServer, path: Path) -> None:
    """Staleness passes through: a route that refuses when stale refuses behind a relay too, and recovers."""
    with relayed(server, path), workers(DRIVERS[0], feed_by(server, path, stale_after=1.5), server, 1) as started:
        (checked,) = started
        token = server.issuer.mint(sid="s1")
        assert admitted(checked, token, when_stale="deny")
        server.behave(Behaviour.FAIL, path=STREAM)
        server.behave(Behaviour.FAIL, path=SNAPSHOT)
        server.streams_cut.set()
        until(lambda: not admitted(checked, token, when_stale="deny"))
        late = Guard(issuers=[server.url], audience=AUDIENCE, revocation=feed_by(server, path, stale_after=1.5))
        late_checked = DRIVERS[0](late)
        try:
            # A worker that starts now knows all the relay knows, and how old that is.
            assert late.readiness().ready
            assert late.staleness()[server.url] > 1.5
            assert not admitted(late_checked, token, when_stale="deny")
        finally:
            late_checked.close()

        server.streams_cut.clear()
        server.behave(None, path=STREAM)
        server.behave(None, path=SNAPSHOT)
        until(lambda: admitted(checked, token, when_stale="deny"))


def test_a_worker_leaves_a_relay_that_alone_lost_the_issuer(server: JwksServer, path: Path) -> None:
    """The worker reaches the issuer itself, and no route refuses for the relay's sake."""
    deaf = threading.Event()

    class Deaf(Relay):
        """A relay whose way to the issuer is cut, and which does not know it."""

        async def _follow(self, *what: Any) -> None:
            following = asyncio.create_task(super()._follow(*what))
            await asyncio.to_thread(deaf.wait)
            following.cancel()
            await asyncio.Event().wait()

    try:
        with (
            relayed(server, path, of=Deaf),
            workers(DRIVERS[0], feed_by(server, path, stale_after=4), server, 1) as started,
        ):
            token = server.issuer.mint(sid="s1")
            assert admitted(started[0], token, when_stale="deny")
            deaf.set()
            until(lambda: server.asked[STREAM] == 2)
            assert admitted(started[0], token, when_stale="deny")
            server.issuer.revoke(sid="s1")
            until(refused_everywhere(server, started, "s1"))

            assert server.asked[SNAPSHOT] == 1
    finally:
        deaf.set()


def test_a_restored_database_is_passed_on(server: JwksServer, path: Path) -> None:
    """Another epoch: the workers take a snapshot of the relay, which forgets nothing that still matters."""
    with relayed(server, path), workers(DRIVERS[0], feed_by(server, path), server, 2) as started:
        server.issuer.revoke(sid="lost")
        until(refused_everywhere(server, started, "lost"))
        server.issuer.restore("epoch-2")
        until(lambda: server.asked[SNAPSHOT] == 2)
        server.issuer.revoke(sid="after")
        until(refused_everywhere(server, started, "after"))
        with workers(DRIVERS[0], feed_by(server, path), server, 1) as later:
            assert refused_everywhere(server, [*started, *later], "lost")()

        assert server.asked[SNAPSHOT] == 2


# ── the socket ───────────────────────────────────────────────────────────────────────


def bound(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen(1)
    return made


def test_a_socket_that_anybody_could_have_made_is_not_believed(server: JwksServer, path: Path) -> None:
    """Whoever can write to the folder could pretend to be the relay and keep revocations back."""
    made = bound(path)
    path.parent.chmod(0o1777)
    os.chown(path, 65534, 65534)
    try:
        with pytest.raises(Unavailable, match="not believed"):
            check_believable(path)
        with workers(DRIVERS[0], feed_by(server, path), server, 1) as started:
            server.issuer.revoke(sid="s1")
            until(refused_everywhere(server, started, "s1"))
    finally:
        made.close()


@pytest.mark.parametrize(("folder", "owner"), [(0o755, 65534), (0o1777, 0)])
def test_a_socket_of_a_trusted_owner_or_folder_is_believed(path: Path, folder: int, owner: int) -> None:
    """Either nobody else can write there, or it is root's (or our own)."""
    made = bound(path)
    path.parent.chmod(folder)
    os.chown(path, owner, owner)
    check_believable(path)
    made.close()


@pytest.mark.parametrize("kind", ["missing", "file", "link"])
def test_what_is_no_socket_is_not_used(path: Path, kind: str) -> None:
    """Nothing there, a file, or a link to elsewhere."""
    if kind == "file":
        path.write_text("")
    elif kind == "link":
        path.symlink_to("/dev/null")

    with pytest.raises(Unavailable):
        check_believable(path)


def test_one_process_serves_and_a_dead_ones_socket_is_replaced(path: Path) -> None:
    """The lock says who; the file that a killed process left says nothing."""
    bound(path).close()
    first = ServingLock.taken(path)
    assert first is not None
    made = listening(first, mode=0o660)

    assert ServingLock.taken(path) is None
    assert is_served(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    made.forget()
    made.sock.close()
    first.release()
    assert not is_served(path)


def test_a_child_does_not_hold_the_relay_of_its_parent(path: Path) -> None:
    """A forked child that lives longer keeps neither the lock nor the socket."""
    program = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from portero.resource_server.relay_socket import ServingLock, listening\n"
        "path = Path(sys.argv[1])\nlock = ServingLock.taken(path)\nmade = listening(lock, mode=0o600)\n"
        "if os.fork() == 0:\n    sys.stdin.read()\n    os._exit(0)\nprint('forked', flush=True)\nos._exit(0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        process.wait(60)

        until(lambda: not is_served(path))
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("relay", [Path("relative.sock"), Path("/" + "x" * 200)])
def test_a_path_that_cannot_be_a_sockets_is_a_configuration_error(server: JwksServer, relay: Path) -> None:
    """At the start, not at the first request."""
    with pytest.raises(ConfigurationError, match=r"revocation\.relay"):
        replace(server.feed(), relay=relay)


def test_serving_needs_a_path(server: JwksServer) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=r"revocation\.relay"):
        replace(server.feed(), serve_relay=True)


def test_degraded_start_works_behind_a_relay_too(server: JwksServer, path: Path) -> None:
    """The relay has heard nothing yet, the issuer neither: the service comes up, and learns later."""
    for one in (STREAM, SNAPSHOT):
        server.behave(Behaviour.FAIL, path=one)
    feed = replace(feed_by(server, path), start=FeedStart.DEGRADED)
    with relayed(server, path):
        guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=feed, startup_patience=timedelta(seconds=0.2))
        checked = DRIVERS[0](guard)
        try:
            token = server.issuer.mint(sid="s1")
            assert admitted(checked, token)
            server.issuer.revoke(sid="s1")
            for one in (STREAM, SNAPSHOT):
                server.behave(None, path=one)
            until(lambda: not admitted(checked, token))
        finally:
            checked.close()
