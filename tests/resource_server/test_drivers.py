"""Keys and feed over a real network, from threads and from an event loop: cut, killed, restored, refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import pytest

from portero.core.keys.key_cache import KeyCachePolicy
from portero.resource_server import FeedStart, Guard, Principal, Refusal
from portero.resource_server.trust import KeysWanted
from portero.testing.jwks_server import Behaviour, JwksServer
from portero.testing.tokens import AUDIENCE

PATIENCE = 8.0


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


class Checked(Protocol):
    """A started Guard, asked from a test's thread."""

    guard: Guard

    def __call__(self, token: str, **what: Any) -> Principal | Refusal: ...


class OnThreads:
    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        guard.start_sync()

    def __call__(self, token: str, **what: Any) -> Principal | Refusal:
        return self.guard.check_sync(token.encode(), self.guard.requires(**what))

    def close(self) -> None:
        self.guard.close()


class OnLoop:
    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(guard.start())

    def _run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(PATIENCE)

    def __call__(self, token: str, **what: Any) -> Principal | Refusal:
        outcome: Principal | Refusal = self._run(self.guard.check(token.encode(), self.guard.requires(**what)))
        return outcome

    def close(self) -> None:
        self._run(self.guard.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


DRIVERS = [OnThreads, OnLoop]


@contextmanager
def started(driver: Any, server: JwksServer, *, stale_after: float = 10, **settings: Any) -> Iterator[Checked]:
    feed = server.feed(stale_after=stale_after, start=settings.pop("start", FeedStart.WAIT))
    patience = timedelta(seconds=settings.pop("patience", 3))
    guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=feed, startup_patience=patience, **settings)
    checked = driver(guard)
    try:
        yield checked
    finally:
        checked.close()


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


def admitted(checked: Checked, token: str, **what: Any) -> bool:
    return isinstance(checked(token, **what), Principal)


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_was_revoked_before_the_start_is_refused_at_once(driver: Any, server: JwksServer) -> None:
    """`start` waits for the first snapshot."""
    server.issuer.revoke(sid="s1")

    with started(driver, server) as checked:
        assert not admitted(checked, server.issuer.mint(sid="s1"))
        assert admitted(checked, server.issuer.mint(sid="s2"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_key_that_is_taken_back_has_its_successor_fetched_at_once(driver: Any, server: JwksServer) -> None:
    """The emergency: a new key's tokens are not refused until a fetch for an unknown `kid` is due."""
    policy = KeyCachePolicy(unknown_kid_interval=1800)
    with started(driver, server, key_policy=policy) as checked:
        old, kid = server.issuer.mint(), server.issuer.tokens.key.kid
        assert admitted(checked, old)
        server.issuer.rotate(keep_old=False)
        fresh = server.issuer.mint()
        assert not admitted(checked, fresh)

        server.issuer.revoke(kid=kid)
        until(lambda: admitted(checked, fresh))
        assert not admitted(checked, old)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_revocation_reaches_a_running_guard_and_its_open_stream(driver: Any, server: JwksServer) -> None:
    """By the stream, not by another snapshot."""
    with started(driver, server) as checked:
        token = server.issuer.mint(sid="s1")
        assert admitted(checked, token)

        server.issuer.revoke(sid="s1")
        until(lambda: not admitted(checked, token))

        assert server.asked["/revocations/snapshot"] == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_stream_that_was_cut_resumes_without_a_gap(driver: Any, server: JwksServer) -> None:
    """What was revoked while it was cut comes with the resume, and no snapshot is needed."""
    with started(driver, server) as checked:
        token = server.issuer.mint(sid="s1")
        assert admitted(checked, token)

        server.streams_cut.set()
        server.behave(Behaviour.FAIL, path="/revocations/stream")
        until(lambda: server.asked["/revocations/stream"] >= 2)
        server.issuer.revoke(sid="s1")
        server.streams_cut.clear()
        server.behave(None, path="/revocations/stream")
        until(lambda: not admitted(checked, token))

        assert server.asked["/revocations/snapshot"] == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_restored_database_is_noticed_and_nothing_is_forgotten(driver: Any, server: JwksServer) -> None:
    """Another epoch: a new snapshot; what the backup lost stays revoked."""
    with started(driver, server) as checked:
        lost, after = server.issuer.mint(sid="lost"), server.issuer.mint(sid="after")
        assert admitted(checked, after)
        server.issuer.revoke(sid="lost")
        until(lambda: not admitted(checked, lost))

        server.issuer.restore("epoch-2")
        until(lambda: server.asked["/revocations/snapshot"] == 2)
        server.issuer.revoke(sid="after")
        until(lambda: not admitted(checked, after))

        assert not admitted(checked, lost)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_cursor_the_server_does_not_know_is_given_up_for_a_snapshot(driver: Any, server: JwksServer) -> None:
    """The database was restored while the stream was cut: the resume is answered with 409."""
    with started(driver, server) as checked:
        token = server.issuer.mint(sid="s1")
        assert admitted(checked, token)
        server.streams_cut.set()
        server.behave(Behaviour.FAIL, path="/revocations/stream")
        until(lambda: server.asked["/revocations/stream"] >= 2)

        server.issuer.restore("epoch-2")
        server.issuer.revoke(sid="s1")
        server.streams_cut.clear()
        server.behave(None, path="/revocations/stream")

        until(lambda: not admitted(checked, token))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_feed_token_that_is_refused_is_replaced(driver: Any, server: JwksServer) -> None:
    """The issuer's keys may have changed while the service slept."""
    server.behave(Behaviour.REFUSE, path="/revocations/snapshot")
    with started(driver, server, patience=0.1) as checked:
        until(lambda: server.asked["/token"] >= 2)
        assert not admitted(checked, server.issuer.mint())

        server.behave(None, path="/revocations/snapshot")
        until(lambda: admitted(checked, server.issuer.mint()))


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_issuer_that_is_gone_makes_deny_routes_unavailable_and_no_others(driver: Any, server: JwksServer) -> None:
    """Within `stale_after`; what was revoked before stays revoked."""
    with started(driver, server, stale_after=0.5) as checked:
        server.issuer.revoke(sid="s1")
        revoked, good = server.issuer.mint(sid="s1"), server.issuer.mint(sid="s2")
        until(lambda: not admitted(checked, revoked))
        assert admitted(checked, good, when_stale="deny")

        server.streams_cut.set()
        server.behave(Behaviour.FAIL, path="/revocations/stream")
        until(lambda: not admitted(checked, good, when_stale="deny"))

        outcome = checked(good, when_stale="deny")
        assert isinstance(outcome, Refusal)
        assert outcome.row.status == 503
        assert admitted(checked, good)
        assert not admitted(checked, revoked)

        server.streams_cut.clear()
        server.behave(None, path="/revocations/stream")
        until(lambda: admitted(checked, good, when_stale="deny"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_stream_that_is_silent_is_given_up(driver: Any, server: JwksServer) -> None:
    """A half-open connection never says that it is dead."""
    with started(driver, server, stale_after=0.4) as checked:
        token = server.issuer.mint(sid="s1")
        assert admitted(checked, token)
        server.behave(Behaviour.STALL, path="/revocations/stream")
        server.streams_cut.set()
        until(lambda: server.asked["/revocations/stream"] >= 3)

        assert admitted(checked, token)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_service_that_started_before_its_issuer_comes_up_with_it(driver: Any, server: JwksServer) -> None:
    """Until then 503, and the readiness probe says what is missing."""
    for path in ("/jwks", "/revocations/snapshot"):
        server.behave(Behaviour.FAIL, path=path)
    with started(driver, server, patience=0.1) as checked:
        outcome = checked(server.issuer.mint())
        assert isinstance(outcome, Refusal)
        assert outcome.row.status == 503
        assert not checked.guard.readiness().ready
        assert any("no keys" in problem for problem in checked.guard.readiness().problems)

        for path in ("/jwks", "/revocations/snapshot"):
            server.behave(None, path=path)
        until(lambda: checked.guard.readiness().ready)

        assert admitted(checked, server.issuer.mint())


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_closed_guard_leaves_no_thread_and_can_start_again(driver: Any, server: JwksServer) -> None:
    """A service that reloads must not collect followers."""
    guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
    for _ in range(2):
        checked = driver(guard)
        assert admitted(checked, server.issuer.mint())
        checked.close()

    until(lambda: not [thread for thread in threading.enumerate() if server.url in thread.name])


def test_the_first_request_starts_a_guard_that_nobody_started(server: JwksServer) -> None:
    """A worker process after a fork has no threads yet; many first requests start one set."""
    guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
    requirement = guard.requires()
    token = server.issuer.mint().encode()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: guard.check_sync(token, requirement), range(16)))
    guard.close()

    assert all(isinstance(outcome, Principal) for outcome in outcomes)
    assert server.asked["/revocations/snapshot"] == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_fetch_that_was_claimed_without_a_driver_is_done_by_who_comes_next(driver: Any, server: JwksServer) -> None:
    """An adapter asks without I/O first, and is told to fetch: the driver it turns to does, at once."""
    policy = KeyCachePolicy(unknown_kid_interval=0.001, fetch_timeout=3600)
    with started(driver, server, key_policy=policy) as checked:
        server.issuer.rotate()
        token = server.issuer.mint()
        with pytest.raises(KeysWanted):
            checked.guard.admit(token.encode(), checked.guard.requires())

        assert admitted(checked, token)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_set_that_did_not_change_is_made_of_the_same_keys(driver: Any, server: JwksServer) -> None:
    """Most fetches bring what the last one brought: nothing is parsed, nothing was learned."""
    policy = KeyCachePolicy(refresh_after=0.001, unknown_kid_interval=0.001)
    with started(driver, server, key_policy=policy) as checked:
        keys = checked.guard.trust(server.url).keys
        before, asked = keys.keys, server.asked["/jwks"]
        until(lambda: server.asked["/jwks"] > asked + 3)
        assert keys.keys is before

        server.issuer.rotate()
        until(lambda: keys.keys is not before)

        assert admitted(checked, server.issuer.mint())
