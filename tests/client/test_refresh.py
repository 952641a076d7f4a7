"""One refresh for everybody, in threads, coroutines and processes (behaviours 13 to 24, 61 to 63)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest

from portero.client import Auth, ClientLimits, RefreshUnavailable, Secret, SignInRequired, State
from tests.authorization_server.back_channel import SECRET
from tests.client.world import PLAIN, Fault, World

HOUR = 3600.0
LIBRARIES = pytest.mark.parametrize("library", [httpx2, httpx], ids=["httpx2", "httpx"])


def call_many(world: World, auth: Auth, library: Any, many: int) -> list[int]:
    with library.Client(auth=auth, **PLAIN) as http, ThreadPoolExecutor(many) as pool:
        together = threading.Barrier(many)

        def call(_: int) -> int:
            together.wait()
            return int(http.get(f"{world.api}/orders").status_code)

        return list(pool.map(call, range(many)))


@pytest.mark.behaviour(61)
@LIBRARIES
def test_one_auth_serves_httpx2_and_httpx_in_threads_and_event_loops(world: World, library: Any) -> None:
    """The same object is the `auth` of all four clients."""
    auth = Auth(world.session())

    async def asynchronously() -> int:
        async with library.AsyncClient(auth=auth, **PLAIN) as http:
            return int((await http.get(f"{world.api}/orders")).status_code)

    with library.Client(auth=auth, **PLAIN) as http:
        assert http.get(f"{world.api}/orders").status_code == 200
    assert asyncio.run(asynchronously()) == 200
    assert world.posts == []


@pytest.mark.behaviour(13)
@pytest.mark.behaviour(62)
@LIBRARIES
@pytest.mark.parametrize("known", [True, False], ids=["known to be over", "met as a 401"])
def test_ten_threads_that_meet_an_expired_token_are_one_refresh(world: World, library: Any, known: bool) -> None:
    """Ten threads, one POST, ten successes."""
    auth = Auth(world.session())
    world.advance(HOUR / 2, client=known)

    assert call_many(world, auth, library, 10) == [200] * 10
    assert len(world.posts) == 1


@pytest.mark.behaviour(13)
@pytest.mark.behaviour(62)
@LIBRARIES
@pytest.mark.parametrize("known", [True, False], ids=["known to be over", "met as a 401"])
def test_a_hundred_coroutines_that_meet_an_expired_token_are_one_refresh(
    world: World, library: Any, known: bool
) -> None:
    """A hundred coroutines, one POST, a hundred successes."""
    auth = Auth(world.session())
    world.advance(HOUR / 2, client=known)

    async def together() -> list[int]:
        async with library.AsyncClient(auth=auth, **PLAIN, timeout=60) as http:
            answers = await asyncio.gather(*(http.get(f"{world.api}/orders") for _ in range(100)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(together()) == [200] * 100
    assert len(world.posts) == 1


@pytest.mark.behaviour(63)
def test_a_stream_that_is_open_for_long_keeps_nobody_waiting(world: World) -> None:
    """No lock is held while a request is on its way: others call, and even refresh, meanwhile."""
    auth = Auth(world.session())
    flow = auth.sync_auth_flow(httpx2.Request("GET", f"{world.api}/events"))
    next(flow)  # the request is out, and its answer does not come
    world.advance(HOUR / 2)

    assert call_many(world, auth, httpx2, 5) == [200] * 5
    assert len(world.posts) == 1
    flow.close()


@pytest.mark.behaviour(14)
def test_a_401_that_arrives_after_another_call_has_refreshed_is_retried_without_a_refresh(world: World) -> None:
    """The token that was sent is not the token that is there."""
    session = world.session()
    flow = Auth(session).sync_auth_flow(httpx2.Request("GET", f"{world.api}/orders"))
    first = next(flow).headers["Authorization"]
    session.refresh()
    late = httpx2.Response(
        401,
        headers={"www-authenticate": 'Bearer error="invalid_token"'},
        request=httpx2.Request("GET", f"{world.api}/orders"),
    )

    assert flow.send(late).headers["Authorization"] != first
    assert len(world.posts) == 1


@pytest.mark.behaviour(15)
def test_refreshes_that_were_asked_for_by_hand_share_the_flight(world: World) -> None:
    """`refresh()` from many threads is one POST."""
    session = world.session()
    fault = Fault(commit=True, hold=threading.Event())
    world.faults.append(fault)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(session.refresh) for _ in range(5)]
        assert fault.arrived.wait(60)
        assert fault.hold is not None
        fault.hold.set()
        for one in asked:
            one.result(60)

    assert len(world.refreshes) == 1


@pytest.mark.behaviour(16)
def test_two_services_are_one_refresh_token_hence_one_refresh(world: World) -> None:
    """There is one lock for the token, not one for each service."""
    auth = Auth(world.session(allowed_origins=(world.api, world.other_origin)))
    world.advance(HOUR / 2)
    with httpx2.Client(auth=auth, **PLAIN) as http, ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda origin: http.get(f"{origin}/orders"), (world.api, world.other_origin)))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(world.posts) == 1


@pytest.mark.behaviour(17)
@pytest.mark.behaviour(28)
def test_a_proactive_refresh_makes_nobody_wait_and_its_failure_harms_nobody(world: World) -> None:
    """Near its end the token is sent while a refresh is under way; when that fails, it is sent all the same."""
    session = world.session()
    fault = Fault(status=503, hold=threading.Event())
    world.faults.append(fault)
    world.advance(294)
    with httpx2.Client(auth=Auth(session), **PLAIN) as http:
        assert http.get(f"{world.api}/orders").status_code == 200
        assert fault.arrived.wait(60)
        assert fault.hold is not None
        failed = threading.Event()
        session.on_event(lambda event: failed.set() if getattr(event, "target", None) is State.WAITING else None)
        fault.hold.set()
        assert failed.wait(60)

        assert http.get(f"{world.api}/orders").status_code == 200
    assert len(world.posts) == 1


@pytest.mark.behaviour(18)
def test_after_a_sleep_that_only_the_wall_clock_saw_the_first_call_refreshes_before_it_sends(world: World) -> None:
    """The steady clock may stand still in a machine that sleeps."""
    auth = Auth(world.session())
    world.advance(HOUR / 2, client=False)
    world.clock.set_wall(world.clock.now() + HOUR / 2)
    with httpx2.Client(auth=auth, **PLAIN) as http:
        assert http.get(f"{world.api}/orders").status_code == 200

    assert len(world.requests) == 1


@pytest.mark.behaviour(19)
@pytest.mark.parametrize("hours", [-2, 2])
def test_a_wall_clock_that_jumps_by_two_hours_causes_one_refresh_at_most(world: World, hours: int) -> None:
    """No loop, and no 401."""
    auth = Auth(world.session())
    world.clock.set_wall(world.clock.now() + hours * HOUR)
    with httpx2.Client(auth=auth, **PLAIN) as http:
        for _ in range(5):
            assert http.get(f"{world.api}/orders").status_code == 200

    assert len(world.posts) <= 1
    assert len(world.requests) == 5


@pytest.mark.behaviour(20)
def test_a_token_shorter_than_any_leeway_is_no_loop(world: World) -> None:
    """A token that is over at once costs one refresh for each call, and no more."""
    session = world.session()
    answers = b'{"access_token":"a","expires_in":0,"refresh_token":"r"}'
    world.faults += [Fault(status=200, body=answers) for _ in range(3)]
    world.advance(HOUR / 2)

    for _ in range(3):
        session.access_token()
    assert len(world.posts) == 3


@pytest.mark.behaviour(21)
def test_a_refresh_that_hangs_frees_every_waiter_at_the_limit(world: World) -> None:
    """Everybody hears `timeout`, and the session is kept."""
    session = world.session(limits=ClientLimits(refresh=0.3))
    world.faults.append(Fault(hold=threading.Event()))
    world.advance(HOUR / 2)
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(session.access_token) for _ in range(5)]
        reasons = {getattr(one.exception(60), "reason", None) for one in waiting}

    assert {"timeout"} == reasons
    assert State.WAITING is session.state


@pytest.mark.behaviour(22)
def test_a_caller_who_is_cancelled_leaves_alone_and_the_refresh_goes_on(world: World) -> None:
    """The shared refresh belongs to nobody in particular."""
    session = world.session()
    fault = Fault(commit=True, hold=threading.Event())
    world.faults.append(fault)
    world.advance(HOUR / 2)

    async def one_leaves() -> int:
        async with httpx2.AsyncClient(auth=Auth(session), **PLAIN) as http:
            first = asyncio.create_task(http.get(f"{world.api}/orders"))
            await asyncio.to_thread(fault.arrived.wait, 30)
            second = asyncio.create_task(http.get(f"{world.api}/orders"))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert fault.hold is not None
            fault.hold.set()
            return (await second).status_code

    assert asyncio.run(one_leaves()) == 200
    assert len(world.refreshes) == 1


@pytest.mark.behaviour(23)
def test_two_refreshes_that_do_not_cure_an_address_end_the_refreshing_for_it(world: World) -> None:
    """A service that always says 401 costs two refreshes, not one for each call."""
    auth = Auth(world.session())
    url = f'{world.api}/refuses?challenge=Bearer error="invalid_token"'
    with httpx2.Client(auth=auth, **PLAIN) as http:
        for _ in range(5):
            assert http.get(url).status_code == 401
        assert len(world.refreshes) == 2

        assert http.get(f"{world.api}/orders").status_code == 200


@pytest.mark.behaviour(24)
@pytest.mark.parametrize(
    ("status", "challenge", "refreshes"),
    [
        (401, 'Bearer error="invalid_token"', 1),
        (401, "Bearer", 1),
        (401, "", 1),
        (401, 'Bearer error="insufficient_scope"', 0),
        (403, 'Bearer error="insufficient_scope"', 0),
        (403, 'Bearer error="invalid_token"', 0),
    ],
)
def test_only_a_401_that_another_token_may_cure_refreshes(
    world: World, status: int, challenge: str, refreshes: int
) -> None:
    """RFC 6750 §3.1."""
    auth = Auth(world.session())
    with httpx2.Client(auth=auth, **PLAIN) as http:
        answer = http.get(f"{world.api}/refuses", params={"status": str(status), "challenge": challenge})

    assert (status, refreshes) == (answer.status_code, len(world.refreshes))


def test_nobody_signed_in_is_a_named_error(world: World) -> None:
    """No request leaves."""
    auth = Auth(world.session(sign_in=False))
    with httpx2.Client(auth=auth, **PLAIN) as http, pytest.raises(SignInRequired) as caught:
        http.get(f"{world.api}/orders")

    assert caught.value.reason == "signed_out"
    assert world.requests == []


def test_a_program_that_acts_for_itself_asks_once_and_again_when_the_token_is_over(world: World) -> None:
    """Client credentials: no refresh token, one token for all threads."""
    session = world.session(
        sign_in=False, client_id="nightly", client_secret=Secret(SECRET), client_credentials=True, scope="orders:read"
    )
    auth = Auth(session)

    assert call_many(world, auth, httpx2, 5) == [200] * 5
    assert len(world.posts) == 1
    world.advance(HOUR / 2, client=False)
    assert call_many(world, auth, httpx2, 5) == [200] * 5
    assert [post.form["grant_type"] for post in world.posts] == ["client_credentials"] * 2


def test_a_wrong_secret_is_not_the_callers_sign_in(world: World) -> None:
    """`invalid_client` says nothing of a person: the call fails, and says why."""
    wrong = Secret("wrong")
    session = world.session(sign_in=False, client_id="nightly", client_secret=wrong, client_credentials=True)

    with pytest.raises(RefreshUnavailable, match=r"client_refused \(invalid_client\)"):
        session.access_token()
