"""What a driver leaves behind: no claim to fetch that nobody keeps, and no end by what nobody expected."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec

import pytest

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.adapters.system import SystemClock
from portero.core.revocation.entry import Revocation
from portero.resource_server import Guard, KeyCachePolicy, Principal
from portero.resource_server.key_sets import AsyncKeys, SyncKeys
from portero.resource_server.revocations import AsyncRevocations, SyncRevocations
from portero.resource_server.trust import KeysWanted
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.jwks_server import Behaviour, JwksServer
from portero.testing.tokens import AUDIENCE

PATIENCE = 60.0
PATIENT = KeyCachePolicy(fetch_timeout=3600)
"""A claim that is left behind is left for an hour."""
P = ParamSpec("P")
HASTY = KeyCachePolicy(backoff_first=0.001, backoff_longest=0.001)


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


def guard_of(server: JwksServer, *, policy: KeyCachePolicy = PATIENT, patience: float = PATIENCE) -> Guard:
    return Guard(
        issuers=[server.url],
        audience=AUDIENCE,
        revocation=None,
        key_policy=policy,
        startup_patience=timedelta(seconds=patience),
    )


def nobody_is_told(_: Iterable[Revocation]) -> None:
    return


async def came(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - threads and a server have no event of this loop
            await asyncio.sleep(0.002)


def claim(guard: Guard, server: JwksServer) -> KeysWanted:
    """As an adapter does that asks without I/O before anybody fetches."""
    with pytest.raises(KeysWanted) as raised:
        guard.admit(server.issuer.mint().encode(), guard.requires())
    return raised.value


@on_a_loop
async def test_a_loop_takes_over_what_was_claimed_before_it(server: JwksServer) -> None:
    """The first request came before `start`: the start fetches, and does not wait for whoever was told to."""
    guard = guard_of(server)
    claim(guard, server)

    async with asyncio.timeout(PATIENCE / 2):
        await guard.start()

    assert guard.readiness().ready
    await guard.aclose()


def test_threads_take_over_what_was_claimed_before_them(server: JwksServer) -> None:
    """As on a loop."""
    guard = guard_of(server)
    claim(guard, server)
    starting = threading.Thread(target=guard.start_sync, daemon=True)
    starting.start()
    starting.join(PATIENCE / 2)

    assert not starting.is_alive()
    assert guard.readiness().ready
    guard.close()


@on_a_loop
async def test_a_guard_that_was_closed_while_it_fetched_fetches_when_it_starts_again(server: JwksServer) -> None:
    """The fetch that was cancelled is nobody's duty any more."""
    server.behave(Behaviour.STALL)
    guard = guard_of(server, patience=0.01)
    await guard.start()
    await came(lambda: server.asked["/jwks"] == 1)
    await guard.aclose()

    server.behave(None)
    await guard.start()
    await came(lambda: guard.readiness().ready)

    assert server.asked["/jwks"] == 2
    await guard.aclose()


@on_a_loop
async def test_a_guard_closed_before_its_fetch_began_leaves_no_claim(server: JwksServer) -> None:
    """A task that is cancelled before its first step never runs, so nothing in it can tidy up."""
    guard = guard_of(server)
    trust = guard.trust(server.url)
    fetcher = AsyncFetcher()
    keys = AsyncKeys(trust, fetcher=fetcher, clock=SystemClock())
    keeper = asyncio.create_task(keys.keep())
    await asyncio.sleep(0)  # it has claimed the fetch, and the fetch has not begun
    keeper.cancel()
    await keys.aclose()
    await fetcher.aclose()

    assert server.asked["/jwks"] == 0
    assert trust.keys.refresh_due(now=0)


@on_a_loop
async def test_one_driver_that_closes_leaves_the_refresh_to_the_other(server: JwksServer) -> None:
    """A service with sync and async views has both; a refresh that a request claims goes to one that lives."""
    policy = KeyCachePolicy(refresh_after=0.001, unknown_kid_interval=0.001, fetch_timeout=3600)
    guard = guard_of(server, policy=policy)
    requirement = guard.requires()
    await asyncio.to_thread(guard.start_sync)
    await guard.start()
    await guard.aclose()
    asked = server.asked["/jwks"]

    def served_and_fetched() -> bool:
        assert isinstance(guard.admit(server.issuer.mint().encode(), requirement), Principal)
        return server.asked["/jwks"] > asked + 3

    await came(served_and_fetched)
    await asyncio.to_thread(guard.close)


def test_without_a_driver_a_refresh_is_claimed_by_nobody() -> None:
    """A Guard that is asked after it was closed answers with the keys it has, and takes nobody's turn to fetch."""
    clock = FakeClock()
    issuer = InMemoryIssuer(clock=clock)
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, key_policy=PATIENT, clock=clock)
    issuer.trust_in(guard)
    clock.advance(PATIENT.refresh_after)

    assert isinstance(guard.admit(issuer.mint().encode(), guard.requires()), Principal)

    assert guard.trust(issuer.url).keys.refresh_due(now=clock.monotonic())


@on_a_loop
async def test_a_closed_driver_sends_nobody_to_fetch(server: JwksServer) -> None:
    """A request that is still under way when the service closes is refused with 503, and waits for nothing."""
    guard = guard_of(server)
    wanted = claim(guard, server)
    trust = wanted.trust
    fetcher = AsyncFetcher()
    on_loop = AsyncKeys(trust, fetcher=fetcher, clock=SystemClock())
    in_threads = SyncKeys(trust, fetcher=Fetcher(), clock=SystemClock())
    in_threads.start()
    await on_loop.aclose()
    await asyncio.to_thread(in_threads.close)

    with pytest.raises(KeysWanted):
        await on_loop.obtain(wanted)
    with pytest.raises(KeysWanted):
        in_threads.obtain(wanted)
    await fetcher.aclose()


@on_a_loop
async def test_what_nobody_expected_does_not_end_the_fetching(
    server: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that was closed raises what no network does: both drivers log it, back off, and try again."""
    guard = guard_of(server, policy=HASTY)
    trust = guard.trust(server.url)
    closed, closed_here = Fetcher(), AsyncFetcher()
    closed.close()
    await closed_here.aclose()

    in_threads = SyncKeys(trust, fetcher=closed, clock=SystemClock())
    in_threads.start()
    await came(lambda: trust.keys.failures >= 2)
    await asyncio.to_thread(in_threads.close)
    failures = trust.keys.failures
    on_loop = AsyncKeys(trust, fetcher=closed_here, clock=SystemClock())
    keeper = asyncio.create_task(on_loop.keep())
    await came(lambda: trust.keys.failures >= failures + 2)
    keeper.cancel()
    await on_loop.aclose()

    assert "see the log" in trust.problem
    assert any("unexpectedly" in record.message and record.exc_info for record in caplog.records)


@on_a_loop
async def test_what_nobody_expected_does_not_end_the_following(
    server: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Or no revocation would arrive any more."""
    closed, closed_here = Fetcher(), AsyncFetcher()
    closed.close()
    await closed_here.aclose()
    trust = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed()).trust(server.url)
    assert trust.subscription is not None

    def tries() -> int:
        return sum("unexpectedly" in record.message for record in caplog.records)

    in_threads = SyncRevocations(trust, fetcher=closed, clock=SystemClock(), on_revoked=nobody_is_told)
    in_threads.start(trust.subscription)
    await came(lambda: tries() >= 2)
    await asyncio.to_thread(in_threads.close)
    before = tries()
    on_loop = AsyncRevocations(trust, fetcher=closed_here, clock=SystemClock(), on_revoked=nobody_is_told)
    follower = asyncio.create_task(on_loop.follow(trust.subscription))
    await came(lambda: tries() >= before + 2)
    follower.cancel()

    assert "see the log" in trust.subscription.problem
