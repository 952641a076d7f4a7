"""Attacks on the way keys are obtained (rows 10, 11, 54 to 59, 68): by header, by redirect, by flood, by size."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.adapters.fetch.requests import FetchRequest, ForbiddenUrl, Limits, checked_url
from portero.core.errors import Unavailable
from portero.core.policy.refusal import Case
from portero.resource_server import Guard, KeyCachePolicy, Principal, Refusal
from portero.resource_server.trust import KeysWanted
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.jwks_server import Behaviour, JwksServer
from portero.testing.tokens import AUDIENCE, new_key

PATIENCE = 5.0
FAST = KeyCachePolicy(unknown_kid_interval=0.2, backoff_first=0.1, backoff_longest=0.2)


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


def guard_of(server: JwksServer, *, patience: float = 2.0, key_policy: KeyCachePolicy = FAST) -> Guard:
    return Guard(
        issuers=[server.url],
        audience=AUDIENCE,
        revocation=None,
        key_policy=key_policy,
        startup_patience=timedelta(seconds=patience),
    )


@pytest.fixture
def guard(server: JwksServer) -> Iterator[Guard]:
    guard = guard_of(server)
    guard.start_sync()
    yield guard
    guard.close()


def check(guard: Guard, token: str) -> Principal | Refusal:
    return guard.check_sync(token.encode(), guard.requires())


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


@pytest.mark.attack(row=10)
def test_a_key_address_in_the_header_is_never_asked(server: JwksServer, guard: Guard) -> None:
    """`jku` and `x5u` point to a listener that gets no hit (RFC 8725 §3.10)."""
    with JwksServer() as canary:
        for header in ({"jku": canary.url + "/jwks"}, {"x5u": canary.url + "/cert"}):
            forged = server.issuer.mint(header=header, key=new_key(kid="theirs"))

            assert isinstance(check(guard, forged), Refusal)

        assert not canary.asked


@pytest.mark.attack(row=11)
@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "data:application/json,{}",
        "ftp://issuer.test/jwks",
        "http://issuer.test/jwks",
        "https://user:password@issuer.test/jwks",
        "https:///jwks",
        "//issuer.test/jwks",
        "https://issuer.test/\njwks",
        "http://[::1",
    ],
)
def test_only_https_or_this_machine_is_fetched(url: str) -> None:
    """Whoever configured or published it."""
    with pytest.raises(ForbiddenUrl):
        checked_url(url)


@pytest.mark.attack(row=11)
def test_an_issuer_elsewhere_cannot_send_us_to_this_machine() -> None:
    """A key set address on loopback counts only when the issuer is on loopback too."""
    assert checked_url("http://127.0.0.1:80/jwks")

    with pytest.raises(ForbiddenUrl):
        checked_url("https://localhost/jwks", expected_same_machine=False)


@pytest.mark.attack(row=11)
@pytest.mark.parametrize("path", ["/jwks", "/.well-known/oauth-authorization-server"])
def test_a_redirect_is_not_followed(server: JwksServer, path: str) -> None:
    """302 to a host inside: nobody asks there, and the answer is unavailable."""
    with JwksServer() as inside:
        server.redirect_to = inside.url + "/jwks"
        server.behave(Behaviour.REDIRECT, path=path)
        guard = guard_of(server, patience=0.1)
        outcome = check(guard, server.issuer.mint())
        guard.close()

        assert isinstance(outcome, Refusal)
        assert outcome.case is Case.UNAVAILABLE
        assert not inside.asked


@pytest.mark.attack(row=54)
def test_a_flood_of_invented_kids_is_one_fetch_an_interval_and_disturbs_no_good_token() -> None:
    """10,000 random `kid`s within one interval: no fetch at all beyond the one that is due."""
    clock = FakeClock()
    issuer = InMemoryIssuer(clock=clock)
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=clock)
    issuer.trust_in(guard)
    requirement = guard.requires()
    good = issuer.mint().encode()
    clock.advance(6)
    asked = 0

    for n in range(10_000):
        try:
            outcome = guard.admit(issuer.tokens.compose({"kid": f"k{n}"}, b"{}", signature=b"").encode(), requirement)
            assert isinstance(outcome, Refusal)
        except KeysWanted as wanted:
            asked += type(wanted.action).__name__ == "Fetch"
    assert asked == 1
    assert isinstance(guard.admit(good, requirement), Principal)
    assert isinstance(guard.admit(issuer.mint().encode(), requirement), Principal)


@pytest.mark.attack(row=54)
def test_a_failed_fetch_does_not_empty_the_key_cache(server: JwksServer, guard: Guard) -> None:
    """CVE-2026-48524: the flood's failing refetch must not take the good keys away."""
    assert isinstance(check(guard, server.issuer.mint()), Principal)
    server.behave(Behaviour.FAIL)
    time_of_failure = server.asked["/jwks"]
    until(lambda: isinstance(check(guard, server.issuer.mint(key=new_key(kid="new"))), Refusal))
    until(lambda: check_case(guard, server.issuer.mint(key=new_key(kid="new"))) is Case.UNAVAILABLE)

    assert server.asked["/jwks"] > time_of_failure
    assert isinstance(check(guard, server.issuer.mint()), Principal)


def check_case(guard: Guard, token: str) -> Case | None:
    outcome = check(guard, token)
    return outcome.case if isinstance(outcome, Refusal) else None


@pytest.mark.attack(row=55)
def test_a_known_key_never_waits_for_the_fetch_of_an_unknown_one(server: JwksServer, guard: Guard) -> None:
    """While the key set does not answer, good tokens are admitted, cached and new ones."""
    cached = server.issuer.mint()
    assert isinstance(check(guard, cached), Principal)
    server.behave(Behaviour.STALL)
    unknown = server.issuer.mint(key=new_key(kid="new"))

    def ask_until_stuck() -> None:
        while server.asked["/jwks"] < 2:
            check(guard, unknown)
        check(guard, unknown)

    stuck = threading.Thread(target=ask_until_stuck)
    stuck.start()
    until(lambda: server.asked["/jwks"] == 2)

    admitted = [check(guard, cached), check(guard, server.issuer.mint())]

    assert stuck.is_alive()
    assert all(isinstance(outcome, Principal) for outcome in admitted)
    server.release()
    stuck.join(PATIENCE)


@pytest.mark.attack(row=56)
def test_a_real_new_key_gets_in_during_a_flood(server: JwksServer, guard: Guard) -> None:
    """The budget is time, not a count that a flood could use up."""
    flooding = threading.Event()

    def flood() -> None:
        n = 0
        while not flooding.is_set():
            n += 1
            check(guard, server.issuer.tokens.compose({"kid": f"k{n}"}, b"{}", signature=b""))

    flood_thread = threading.Thread(target=flood)
    flood_thread.start()
    try:
        server.issuer.rotate()
        until(lambda: isinstance(check(guard, server.issuer.mint()), Principal))
    finally:
        flooding.set()
        flood_thread.join(PATIENCE)

    assert server.asked["/jwks"] < 40


@pytest.mark.attack(row=57)
def test_a_cold_start_under_load_is_one_fetch_and_everybody_is_served(server: JwksServer) -> None:
    """30 threads meet a Guard without keys, and a key set that is slow."""
    server.behave(Behaviour.STALL)
    guard = guard_of(server, patience=0.01)
    tokens = [server.issuer.mint() for _ in range(30)]

    with ThreadPoolExecutor(30) as pool:
        waiting = [pool.submit(check, guard, token) for token in tokens]
        until(lambda: server.asked["/jwks"] == 1)
        server.release()
        outcomes = [future.result(PATIENCE) for future in waiting]
    guard.close()

    assert all(isinstance(outcome, Principal) for outcome in outcomes)
    assert server.asked["/jwks"] == 1


@pytest.mark.attack(row=57)
def test_a_cold_start_on_an_event_loop_is_one_fetch_and_everybody_is_served(server: JwksServer) -> None:
    """The same with 30 tasks, of which one gives up while it waits."""

    async def story() -> list[Principal | Refusal]:
        server.behave(Behaviour.STALL)
        guard = guard_of(server, patience=0.01)
        requirement = guard.requires()
        tasks = [asyncio.create_task(guard.check(server.issuer.mint().encode(), requirement)) for _ in range(30)]
        await asyncio.to_thread(until, lambda: server.asked["/jwks"] == 1)
        tasks[0].cancel()
        server.release()
        outcomes = await asyncio.gather(*tasks[1:])
        await guard.aclose()
        return outcomes

    outcomes = asyncio.run(story())

    assert all(isinstance(outcome, Principal) for outcome in outcomes)
    assert server.asked["/jwks"] == 1


@pytest.mark.attack(row=58)
@pytest.mark.parametrize("behaviour", [Behaviour.HUGE, Behaviour.DRIP, Behaviour.COMPRESSED])
def test_a_body_without_end_is_given_up(server: JwksServer, behaviour: Behaviour) -> None:
    """By size, by the time of the whole exchange, and never unpacked; from threads and from a loop."""
    server.behave(behaviour)
    limits = Limits(max_bytes=100_000, timeout=0.3)
    fetcher = Fetcher(limits=limits)

    async def ask() -> None:
        async_fetcher = AsyncFetcher(limits=limits)
        try:
            await async_fetcher.fetch(FetchRequest(server.url + "/jwks"))
        finally:
            await async_fetcher.aclose()

    with pytest.raises(Unavailable):
        fetcher.fetch(FetchRequest(server.url + "/jwks"))
    with pytest.raises(Unavailable):
        asyncio.run(ask())
    fetcher.close()


@pytest.mark.attack(row=58)
@pytest.mark.parametrize(("size", "accepted"), [(0, True), (-1, False)])
def test_the_size_limit_is_exact(server: JwksServer, size: int, accepted: bool) -> None:
    """Both sides."""
    body = server.issuer.jwk_set()
    fetcher = Fetcher(limits=Limits(max_bytes=len(body) + size))

    if accepted:
        assert fetcher.fetch(FetchRequest(server.url + "/jwks")).body == body
    else:
        with pytest.raises(Unavailable):
            fetcher.fetch(FetchRequest(server.url + "/jwks"))
    fetcher.close()


@pytest.mark.attack(row=59)
@pytest.mark.parametrize("behaviour", [Behaviour.EMPTY_SET, Behaviour.GARBAGE, Behaviour.FAIL])
def test_a_broken_key_set_never_replaces_a_good_one(server: JwksServer, guard: Guard, behaviour: Behaviour) -> None:
    """The last good set goes on."""
    assert isinstance(check(guard, server.issuer.mint()), Principal)
    asked = server.asked["/jwks"]
    server.behave(behaviour)

    until(lambda: check_case(guard, server.issuer.mint(key=new_key(kid="new"))) is Case.UNAVAILABLE)

    assert server.asked["/jwks"] > asked
    assert isinstance(check(guard, server.issuer.mint()), Principal)


@pytest.mark.attack(row=59)
def test_one_broken_key_does_not_void_the_others(server: JwksServer) -> None:
    """It is left out."""
    server.behave(Behaviour.ONE_BAD_KEY)
    guard = guard_of(server)

    outcome = check(guard, server.issuer.mint())
    guard.close()

    assert isinstance(outcome, Principal)


@pytest.mark.attack(row=68)
@pytest.mark.parametrize(
    ("behaviour", "path"),
    [
        (Behaviour.FAIL, "/jwks"),
        (Behaviour.EMPTY_SET, "/jwks"),
        (Behaviour.FAIL, "/.well-known/oauth-authorization-server"),
        (Behaviour.GARBAGE, "/.well-known/oauth-authorization-server"),
        (Behaviour.OTHER_ISSUER, "/.well-known/oauth-authorization-server"),
        (Behaviour.IMPOSSIBLE_HOST, "/.well-known/oauth-authorization-server"),
    ],
)
def test_without_keys_nothing_is_accepted_and_nothing_is_called_invalid(
    server: JwksServer, behaviour: Behaviour, path: str
) -> None:
    """503 for good and forged tokens alike: there is no built-in key to fall back to."""
    server.behave(behaviour, path=path)
    guard = guard_of(server, patience=0.1)

    outcomes = [check(guard, token) for token in (server.issuer.mint(), server.issuer.mint(key=new_key(kid="key-1")))]
    guard.close()

    for outcome in outcomes:
        assert isinstance(outcome, Refusal)
        assert outcome.case is Case.UNAVAILABLE


@pytest.mark.attack(row=68)
@pytest.mark.parametrize(
    ("behaviour", "path"),
    [(Behaviour.FAIL, "/jwks"), (Behaviour.IMPOSSIBLE_HOST, "/.well-known/oauth-authorization-server")],
)
def test_keys_that_come_back_are_found_again(server: JwksServer, behaviour: Behaviour, path: str) -> None:
    """After an outage at start-up nobody has to restart the service, whatever the issuer said meanwhile."""
    server.behave(behaviour, path=path)
    guard = guard_of(server, patience=0.1)
    assert check_case(guard, server.issuer.mint()) is Case.UNAVAILABLE

    server.behave(None, path=path)
    until(lambda: isinstance(check(guard, server.issuer.mint()), Principal))
    guard.close()
