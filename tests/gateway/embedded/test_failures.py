"""Servers and clients that fail, lie or dawdle: a clear answer or a clean cut, nothing leaked, others unharmed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.gateway.embedded.conftest import World
from tests.gateway.embedded.running import Caller, Peer, Seen, Upstream, until

SECRET = b"internal-stack-trace-of-the-service"


def says(data: bytes) -> Callable[[Peer, Seen], bool]:
    """A server that says this and ends."""

    def behave(peer: Peer, _: Seen) -> bool:
        peer.send(data)
        return False

    return behave


NONSENSE = {
    "no HTTP": b"hello " + SECRET + b"\r\n\r\n",
    "another protocol": b"SSH-2.0-" + SECRET + b"\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + SECRET,
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0" + SECRET,
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SECRET,
    "bare LF": b"HTTP/1.1 200 OK\nX: " + SECRET + b"\n\n",
    "folded header": b"HTTP/1.1 200 OK\r\nX: a\r\n " + SECRET + b"\r\n\r\n",
    "unasked upgrade": b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + SECRET,
    "endless head": b"HTTP/1.1 200 OK\r\nX: " + SECRET + b"a" * 100_000,
    "endless interim answers": b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + SECRET,
    "nothing at all": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nX-Half: " + SECRET,
}  # fmt: skip


@pytest.mark.attack(row=81)
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_of_a_server_is_a_502_that_says_nothing_of_it(world: World, name: str) -> None:
    """The caller gets a problem document, never a piece of what the server said."""
    world.upstream.behaviours["/behave/nonsense"] = says(NONSENSE[name])
    with Caller(world.port) as caller:
        caller.send(world.head("POST", "/api/behave/nonsense", "Content-Length: 0"))
        answer = caller.answer()
        while answer.status == 102:
            answer = caller.answer()

        assert (answer.status, answer.header("content-type")) == (502, "application/problem+json")
        assert json.loads(answer.body)["status"] == 502
        assert SECRET not in answer.body
        # The client did nothing wrong: its connection goes on.
        caller.send(world.head("GET", "/api/orders/1"))
        assert caller.answer().status == 200


@pytest.mark.parametrize(
    "half",
    [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ids=["length", "chunks"],
)
def test_server_that_dies_in_mid_answer_cuts_the_client_off(world: World, half: bytes) -> None:
    """RFC 9112 §8: half an answer must not look whole."""
    world.upstream.behaviours["/behave/dies"] = says(b"HTTP/1.1 200 OK\r\n" + half)
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/dies"))
        with pytest.raises((EOFError, ConnectionResetError)):
            caller.answer()


def test_what_a_server_says_beyond_its_answer_reaches_nobody(world: World) -> None:
    """A second answer nobody asked for would be the next caller's."""
    world.upstream.behaviours["/behave/two"] = says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
    )
    with Caller(world.port) as caller:
        for _ in range(3):
            caller.send(world.head("GET", "/api/behave/two") + world.head("GET", "/api/orders/1"))
            assert caller.answer().body == b"one"
            assert json.loads(caller.answer().body) == {"served": True}


def test_safe_request_is_repeated_where_nothing_was_answered_and_others_are_not(world: World) -> None:
    """RFC 9110 §9.2.2: a kept connection that just closed costs a GET nothing, and a POST is never sent twice."""
    tried: list[str] = []

    def dies_once(peer: Peer, seen: Seen) -> bool:
        tried.append(seen.method)
        if tried.count(seen.method) == 1:
            return False
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    world.upstream.behaviours["/behave/once"] = dies_once

    assert world.ask("GET", "/api/behave/once").status == 200
    assert world.ask("POST", "/api/behave/once", "Content-Length: 0").status == 502
    assert tried == ["GET", "GET", "POST"]


def test_server_that_is_away_is_502_and_one_of_two_is_enough(another: Callable[..., World]) -> None:
    """A refused connection is tried at another server, whatever the method."""
    world = another()
    closed = Upstream()
    closed.close()
    manifest = world.gateway.manifest
    text = manifest.read_text().replace(
        f'upstreams = ["http://127.0.0.1:{world.upstream.port}"]',
        f'upstreams = ["http://127.0.0.1:{closed.port}", "http://127.0.0.1:{world.upstream.port}"]',
    )
    manifest.write_text(text)
    until(lambda: len(world.gateway.worker.state.services["orders"].cluster.origins) == 2)

    statuses = [world.ask("POST", "/api/orders/1", "Content-Length: 2", body=b"ok").status for _ in range(8)]

    assert statuses == [200] * 8
    world.upstream.close()
    assert world.ask("GET", "/api/orders/1").status in (502, 503)


def test_aborted_body_is_never_a_whole_request(world: World) -> None:
    """A client that goes away in the middle takes its request with it."""
    with Caller(world.port) as caller:
        caller.send(world.head("POST", "/api/orders/1", "Content-Length: 100") + b"half")
    with Caller(world.port) as caller:
        caller.send(world.head("POST", "/api/orders/1", "Transfer-Encoding: chunked") + b"4\r\nhalf\r\n")

    assert world.ask("GET", "/api/orders/2").status == 200
    assert [seen.target for seen in world.upstream.seen] == ["/orders/2"]
    assert world.upstream.broken == []


def test_client_that_leaves_frees_its_server(world: World) -> None:
    """Nobody waits for an answer nobody wants."""
    left = threading.Event()

    def waits(peer: Peer, _: Seen) -> bool:
        try:
            peer.read(1)
        except (EOFError, OSError):
            left.set()
        return False

    world.upstream.behaviours["/behave/waits"] = waits
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/waits"))
        until(lambda: world.upstream.seen)

    assert left.wait(60)


def test_every_phase_has_its_time(another: Callable[..., World]) -> None:
    """Slow heads and bodies are 408, slow servers 504, and idle connections close."""
    world = another(more='timeouts = { headers = "1s", request = "1s", response = "1s", idle = "1s" }')
    world.upstream.behaviours["/behave/slow"] = lambda peer, _: bool(peer.read(1))

    with (
        Caller(world.port) as silent,
        Caller(world.port) as slow,
        Caller(world.port) as body,
        Caller(world.port) as idle,
    ):
        slow.send(b"GET /api/orders/1 HT")
        body.send(world.head("POST", "/api/orders/1", "Content-Length: 10") + b"a")
        idle.send(world.head("GET", "/api/orders/1"))
        assert idle.answer().status == 200

        assert world.ask("GET", "/api/behave/slow").status == 504
        assert slow.answer().status == 408
        assert body.answer().status == 408
        assert silent.until_end() == b""
        assert idle.until_end() == b""
    with Caller(world.port) as dripping:
        # A byte now and then does not buy more time.
        ended = threading.Event()

        def drip() -> None:
            try:
                for byte in b"GET /api/orders/1 HTTP/1.1\r\nX: " + b"a" * 10_000:
                    dripping.send(bytes((byte,)))
                    if ended.wait(0.05):
                        return
            except OSError:
                return

        dripper = threading.Thread(target=drip)
        dripper.start()
        assert dripping.answer().status == 408
        ended.set()
        dripper.join()


def test_rates_connections_and_bodies_are_limited(another: Callable[..., World]) -> None:
    """429 with Retry-After for one subject and not another; 503 for one connection too many."""
    more = 'rate_limits = { per_subject = "3/m" }'
    world = another(more=more)

    statuses = [world.ask("GET", "/api/orders/1", sub="ana").status for _ in range(4)]
    limited = world.ask("GET", "/api/orders/1", sub="ana")

    assert statuses == [200, 200, 200, 429]
    assert int(limited.header("retry-after") or 0) > 0
    assert world.ask("GET", "/api/orders/1", sub="berta").status == 200


def test_behind_a_trusted_proxy_the_rate_is_each_callers(another: Callable[..., World]) -> None:
    """Of the last address that is no trusted proxy: what stands before it, the caller may have written itself."""
    world = another(more='rate_limits = { per_client = "3/m" }\ntrusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]')

    def status(named: str) -> int:
        caller.send(world.head("GET", "/api/orders/1", f"X-Forwarded-For: {named}"))
        return caller.answer().status

    with Caller(world.port) as caller:
        assert [status("203.0.113.1") for _ in range(4)] == [200, 200, 200, 429]
        assert status("198.51.100.7, 203.0.113.1, 10.0.0.3") == 429
        assert status("203.0.113.1, 203.0.113.2") == 200
        assert status("2001:DB8::1") == 200
        assert [status("unknown") for _ in range(4)] == [200, 200, 200, 429]
        assert status("10.0.0.3") == 429


def test_a_server_whose_name_is_none_is_not_available(another: Callable[..., World]) -> None:
    """An error of ours while a request waits is an answer too, and not silence."""
    world = another()
    manifest = world.gateway.manifest
    longest = f"http://{'a' * 64}.test:80"
    manifest.write_text(manifest.read_text().replace(f"http://127.0.0.1:{world.upstream.port}", longest))
    until(lambda: longest in world.gateway.worker.state.text)

    assert world.ask("GET", "/api/orders/1").status in (502, 503)


def test_what_runs_beside_the_requests_begins_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The clock of the deadlines and the look at the manifest end with the worker, and not with an error."""
    begun: list[int] = []

    async def fails_first() -> None:
        begun.append(1)
        if len(begun) == 1:
            raise ValueError("an error of ours")
        raise asyncio.CancelledError

    async def kept() -> None:
        with suppress(asyncio.CancelledError):
            await world.gateway.worker._keep("a test", fails_first)

    world.gateway.run(kept())
    assert len(begun) == 2
    assert "a test failed and begins again" in caplog.text


def test_many_idle_connections_cost_little_and_harm_nobody(world: World) -> None:
    """Two thousand of them (`make soak` opens ten thousand): a few KB each, and requests are served meanwhile."""
    import resource

    count = 2000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    callers = []
    try:
        callers += [Caller(world.port) for _ in range(count)]
        until(lambda: world.gateway.do(lambda: len(world.gateway.worker.connections)) >= count)
        assert world.ask("GET", "/api/orders/1").status == 200
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        # Both ends live in this process, the test's sockets too.
        assert grown / count < 64
    finally:
        for caller in callers:
            caller.socket.close()
    until(lambda: world.gateway.do(lambda: len(world.gateway.worker.connections)) < 10)


def test_a_slow_reader_stops_its_server_and_not_the_gateway(world: World) -> None:
    """Back-pressure: the gateway holds little of an answer that nobody takes."""
    written = [0]
    stopped = threading.Event()

    def gushes(peer: Peer, _: Seen) -> bool:
        peer.socket.settimeout(2.0)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        try:
            for _number in range(200):
                peer.send(b"x" * 1_000_000)
                written[0] += 1_000_000
        except TimeoutError:
            stopped.set()
        return False

    world.upstream.behaviours["/behave/gush"] = gushes
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/gush"))
        assert caller.peer.line().startswith(b"HTTP/1.1 200")
        assert world.ask("GET", "/api/orders/1").status == 200
        # Nothing more is read for as long as the server is willing to wait.
        assert stopped.wait(60)
    assert 0 < written[0] < 50_000_000
