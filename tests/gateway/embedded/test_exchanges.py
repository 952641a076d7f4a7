"""What passes the gateway arrives whole: methods, bodies, framing, interim answers, trailers (RFC 9110, RFC 9112)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from tests.gateway.embedded.conftest import World
from tests.gateway.embedded.running import Caller, Peer, Seen, until


def answers(data: bytes, *, goes_on: bool = True) -> Callable[[Peer, Seen], bool]:
    """A server that sends these bytes."""

    def behave(peer: Peer, _: Seen) -> bool:
        peer.send(data)
        return goes_on

    return behave


def test_request_reaches_the_service_under_its_own_path(world: World) -> None:
    """The prefix is taken off, the query stays, and what is sent on was written anew (design §3.4)."""
    answer = world.ask("GET", "/api/orders/7?page=2&x=%20", "X-Free: yes")

    assert answer.status == 200
    assert json.loads(answer.body) == {"served": True}
    assert world.last().target == "/orders/7?page=2&x=%20"
    assert world.last().all("x-free") == ["yes"]
    assert world.last().all("host") == ["gateway.test"]
    assert len(world.last().all("x-request-id")) == 1
    assert len(world.last().all("traceparent")) == 1
    assert answer.header("x-request-id") == world.last().all("x-request-id")[0]


def test_connections_are_kept_on_both_sides(world: World) -> None:
    """Ten requests of one client need one connection with the server."""
    before = world.upstream.connections
    with Caller(world.port) as caller:
        for _ in range(10):
            caller.send(world.head("GET", "/api/orders/1"))
            assert caller.answer().status == 200

    assert world.upstream.connections <= before + 1


@pytest.mark.parametrize("size", [0, 1, 65_537, 500_000])
def test_bodies_arrive_whole(world: World, size: int) -> None:
    """With a length, and in chunks."""
    body = bytes(index % 251 for index in range(size))

    assert world.ask("POST", "/api/orders/1", f"Content-Length: {size}", body=body).status == 200
    assert world.last().body == body
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:7], body[7:5000], body[5000:]) if p) + b"0\r\n\r\n"
    assert world.ask("POST", "/api/orders/1", "Transfer-Encoding: chunked", body=chunked).status == 200
    assert world.last().body == body
    assert world.last().all("transfer-encoding") == ["chunked"]


def test_trailers_pass_both_ways_but_no_identity_among_them(world: World) -> None:
    """RFC 9110 §6.5.1: what frames, routes or authenticates is no trailer."""
    world.upstream.behaviours["/behave/trailers"] = answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n"
    )
    body = b"3\r\nabc\r\n0\r\nX-Sum: 7\r\nAuthorization: Bearer x\r\nX-User-Id: root\r\n\r\n"

    answer = world.ask("POST", "/api/behave/trailers", "Transfer-Encoding: chunked", body=body)

    assert answer.body == b"abc"
    assert answer.trailers == [("X-Sum", "1")]
    assert world.last().trailers == [("X-Sum", "7")]


def test_head_204_and_304_have_no_body(world: World) -> None:
    """RFC 9112 §6.3: and the next request on the connection is not confused by their lengths."""
    world.upstream.behaviours["/behave/204"] = answers(b"HTTP/1.1 204 No Content\r\n\r\n")
    world.upstream.behaviours["/behave/304"] = answers(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 15\r\n\r\n")
    with Caller(world.port) as caller:
        for method, path, status in (
            ("HEAD", "/api/orders/1", 200),
            ("GET", "/api/behave/204", 204),
            ("HEAD", "/api/orders/2", 200),
            ("GET", "/api/behave/304", 304),
            ("GET", "/api/orders/3", 200),
        ):
            caller.send(world.head(method, path))
            answer = caller.answer(method)
            assert (answer.status, path) == (status, path)
            if method == "HEAD":
                assert answer.header("content-length") == "15"


def test_expectation_is_the_services_to_meet(world: World) -> None:
    """RFC 9110 §10.1.1: the service's 100 is passed on, and only then the body is sent."""
    world.upstream.before_body["/behave/100"] = lambda peer: peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    with Caller(world.port) as caller:
        caller.send(world.head("POST", "/api/behave/100", "Content-Length: 5", "Expect: 100-continue"))
        assert caller.answer().status == 100
        caller.send(b"hello")

        assert caller.answer().status == 200
    assert world.last().body == b"hello"


def test_expectation_of_a_refused_request_is_answered_with_the_refusal(world: World) -> None:
    """Nobody sends a body for a 403, and its bytes are never read as a request."""
    with Caller(world.port) as caller:
        caller.send(world.head("POST", "/api/admin/1", "Content-Length: 500", "Expect: 100-continue"))
        answer = caller.answer()

        assert answer.status == 403
        assert answer.header("connection") == "close"
        assert caller.until_end() == b""
    assert world.upstream.seen == []


def test_early_hints_are_passed_on(world: World) -> None:
    """RFC 8297: interim answers come before the final one."""
    world.upstream.behaviours["/behave/103"] = answers(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/103"))
        assert caller.answer().status == 103
        assert caller.answer().body == b"ok"


def test_answer_that_ends_with_its_connection_becomes_chunked(world: World) -> None:
    """RFC 9112 §6.3: the client can tell that it is whole, and keeps its connection."""
    world.upstream.behaviours["/behave/eof"] = answers(b"HTTP/1.1 200 OK\r\n\r\nall of it", goes_on=False)
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/eof"))
        answer = caller.answer()
        assert (answer.header("transfer-encoding"), answer.body) == ("chunked", b"all of it")
        caller.send(world.head("GET", "/api/orders/1"))
        assert caller.answer().status == 200


def test_answers_are_streamed_as_they_come(world: World) -> None:
    """The first chunk is there before the second is written."""

    told = threading.Event()

    def two_steps(peer: Peer, _: Seen) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert told.wait(60)
        peer.send(b"6\r\nsecond\r\n0\r\n\r\n")
        return True

    world.upstream.behaviours["/behave/stream"] = two_steps
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/stream"))
        while caller.peer.line():
            pass
        assert (caller.peer.line(), caller.peer.read(7)) == (b"5", b"first\r\n")
        told.set()
        assert (caller.peer.line(), caller.peer.read(8)) == (b"6", b"second\r\n")


def test_old_client_is_served_and_let_go(world: World) -> None:
    """HTTP/1.0: no chunks, and the end of the connection ends the answer."""
    world.upstream.behaviours["/behave/chunks"] = answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/chunks").replace(b"HTTP/1.1", b"HTTP/1.0"))
        everything = caller.until_end()

    assert b"transfer-encoding" not in everything.lower()
    assert everything.endswith(b"\r\n\r\nabc")


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    """RFC 9112 §9.3.2, bodies and refusals among them."""
    with Caller(world.port) as caller:
        caller.send(
            world.head("GET", "/api/orders/1")
            + world.head("POST", "/api/orders/2", "Content-Length: 3")
            + b"abc"
            + b"GET /api/orders/3 HTTP/1.1\r\nHost: a\r\n\r\n" * 200
            + world.head("HEAD", "/api/orders/4")
        )
        statuses = [caller.answer().status, caller.answer().status]
        statuses += [caller.answer().status for _ in range(200)]
        statuses.append(caller.answer("HEAD").status)

    assert statuses == [200, 200, *[401] * 200, 200]
    assert [seen.target for seen in world.upstream.seen] == ["/orders/1", "/orders/2", "/orders/4"]


def test_preflight_never_reaches_the_service_and_refusals_carry_cors(world: World) -> None:
    """Fetch §3.3: preflights carry no token; a page must be able to read a 401."""
    with Caller(world.port) as caller:
        caller.send(
            b"OPTIONS /api/orders/1 HTTP/1.1\r\nHost: a\r\nOrigin: https://shop.test\r\n"
            b"Access-Control-Request-Method: POST\r\n\r\n"
            b"GET /api/orders/1 HTTP/1.1\r\nHost: a\r\nOrigin: https://shop.test\r\n\r\n"
        )
        preflight, refused = caller.answer(), caller.answer()

    assert (preflight.status, preflight.header("access-control-allow-origin")) == (204, "https://shop.test")
    assert (refused.status, refused.header("access-control-allow-origin")) == (401, "https://shop.test")
    assert world.upstream.seen == []
    assert (
        world.ask("GET", "/api/orders/1", "Origin: https://shop.test").header("access-control-allow-origin") is not None
    )


def test_event_stream_ends_whole_when_its_session_is_taken_back(world: World) -> None:
    """Design §3.5: a stream that outlives its token is ended, and the server's side with it."""
    gone = []

    def behave(peer: Peer, _: Seen) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        try:
            peer.read(1)
        except (EOFError, OSError):
            gone.append(True)
        return False

    world.upstream.behaviours["/behave/events"] = behave
    with Caller(world.port) as caller:
        caller.send(world.head("GET", "/api/behave/events", sid="session-of-a-stream"))
        while caller.peer.line():
            pass
        assert (caller.peer.line(), caller.peer.read(11)) == (b"9", b"data: 1\n\n\r\n")
        world.issuer.issuer.revoke(sid="session-of-a-stream")

        assert caller.peer.line() == b"0"
        assert caller.peer.line() == b""
        assert caller.until_end() == b""
    until(lambda: gone)
