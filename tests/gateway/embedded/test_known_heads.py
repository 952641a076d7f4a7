"""Heads that came before: what is kept of one decides nothing about the next, and belongs to no other exchange."""

from __future__ import annotations

import threading

import pytest

from tests.gateway.embedded.conftest import World
from tests.gateway.embedded.running import Answer, Caller, Peer, Seen, until

TARGETS = (
    b"/api/orders/2", b"/api/orders/2?a=b&c=%41", b"/api/orders/2?", b"/api/orders/2??", b"/api/orders/2?a=b#c",
    b"/api/orders/2?access_token=x", b"/api/orders/2?access%5Ftoken=x", b"/api/orders/2?a b", b"/api/orders/2?a\tb",
    b"/api/orders/2?a\x00b", b"/api/orders/2?a\x7fb", b"/api/orders/2?a\xffb", b"/api/orders/2?a\rb",
    b"/api/orders/2?a\nb", b"/api/orders/2?a\nX-A: b", b"/api/orders/2?" + b"a" * 8192,
    b'/api/orders/2?a"<>^`{|}b', b"/api/orders/2#a", b"/api/orders/%32", b"/api/orders/..",
    b"/api/admin/1", b"/api/admin/1?a=b", b"/api/public/1", b"/api/behave/nothing", b"/api/none", b"*", b"",
    b"http://gateway.test/api/orders/2", b"/api/orders/2 HTTP/1.1", b"/api/orders/2 HTTP/1.1\r\nX-A: b\r\nX-B:",
)  # fmt: skip
"""Behind a method; what follows them in a request is the same for all."""
OWN = ("x-request-id", "traceparent")


def _exchanged(
    world: World, caller: Caller, request: bytes
) -> tuple[int, list[tuple[str, str, list[tuple[str, str]]]]]:
    """The first answer's status, and what the server saw, but for the names of requests."""
    world.upstream.seen.clear()
    caller.send(request)
    status = caller.answer().status
    return status, [
        (seen.method, seen.target, [field for field in seen.headers if field[0] not in OWN])
        for seen in world.upstream.seen
    ]


@pytest.mark.attack(row=94)
def test_a_request_is_what_it_would_be_alone(world: World) -> None:
    """Whatever target stands before a head that was just served: same status, and the server sees the same."""
    token = world.token()
    rest = b" HTTP/1.1\r\nHost: gateway.test\r\nX-Note: kept\r\nAuthorization: Bearer %b\r\n\r\n" % token.encode()
    for method in (b"GET", b"DELETE", b"TRACE", b"get"):
        for target in TARGETS:
            request = method + b" " + target + rest
            with Caller(world.port) as caller:
                alone = _exchanged(world, caller, request)
            with Caller(world.port) as caller:
                for known in (b"GET /api/orders/2", b"DELETE /api/orders/2", b"GET /api/orders/1?a=b"):
                    assert _exchanged(world, caller, known + rest)[0] == 200
                assert _exchanged(world, caller, request) == alone, request


@pytest.mark.attack(row=94)
@pytest.mark.parametrize("between", ["Cookie: a=b", "Content-Length: 0", "Connection: X-A", "X-A: b"])
def test_a_known_head_is_its_own_callers(world: World, between: str) -> None:
    """On one connection two callers, as behind a proxy that does not tell them apart: each by its own token."""
    few, many = world.token(), world.token(scope="admin orders:read", sub="admin")

    def ask(token: str, *more: str) -> int:
        lines = ["GET /api/admin/1 HTTP/1.1", "Host: gateway.test", f"Authorization: Bearer {token}", *more]
        caller.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        return caller.answer().status

    with Caller(world.port) as caller:
        for _ in range(3):
            assert ask(few) == 403
            assert ask(many, between) == 200
        assert ask(few) == 403
    assert {seen.all("authorization")[0] for seen in world.upstream.seen} == {f"Bearer {many}"}


@pytest.mark.attack(row=94)
@pytest.mark.parametrize("framing", ["Content-Length: {length}", "Transfer-Encoding: chunked"])
def test_the_body_of_a_head_that_came_before_is_a_body(world: World, framing: str) -> None:
    """Head first and body later, the same head each time: what stands in the body is no request."""
    hidden = b"GET /api/orders/3 HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer %b\r\n\r\n"
    hidden %= world.token().encode()
    body = hidden if "Length" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    came = threading.Semaphore(0)

    def tells(_: Peer) -> None:
        came.release()

    world.upstream.before_body["/orders/1"] = tells
    head = world.head("POST", "/api/orders/1", framing.format(length=len(hidden)))
    with Caller(world.port) as caller:
        for _ in range(3):
            caller.send(head)
            assert came.acquire(timeout=60)
            caller.send(body)
            assert caller.answer().status == 200
    assert [(seen.target, seen.body) for seen in world.upstream.seen] == [("/orders/1", hidden)] * 3


def test_every_request_has_a_name_of_its_own(world: World) -> None:
    """The server and the client are told the same one, and no two requests share one, refused ones neither."""
    names = []
    request = world.head("GET", "/api/orders/1")
    with Caller(world.port) as caller:
        for _ in range(3):
            caller.send(request.replace(b"orders", b"admin"))
            refused = caller.answer()
            assert refused.status == 403
            names.append(refused.header("x-request-id"))
        for _ in range(5):
            caller.send(request)
            name = caller.answer().header("x-request-id")
            assert world.last().all("x-request-id") == [name]
            assert world.last().all("traceparent") == [f"00-{name}-{(name or '')[:16]}-01"]
            names.append(name)
    assert len(set(names)) == 8


@pytest.mark.attack(row=6)
def test_a_session_that_ended_opens_nothing_to_a_head_that_was_served(world: World) -> None:
    """The token is decided about each time: also the bytes that were served a moment ago."""
    request = world.head("GET", "/api/orders/1", sid="session-of-a-known-head")
    with Caller(world.port) as caller:
        for _ in range(3):
            caller.send(request)
            assert caller.answer().status == 200
        world.issuer.issuer.revoke(sid="session-of-a-known-head")

        def refused() -> bool:
            caller.send(request)
            return caller.answer().status == 401

        until(refused)
        world.upstream.seen.clear()
        assert refused()
        assert world.upstream.seen == []


def _served(world: World, caller: Caller, method: str = "GET") -> Answer:
    caller.send(world.head(method, "/api/behave/again"))
    return caller.answer(method)


def test_a_known_answer_brings_its_own_content(world: World) -> None:
    """The same head each time, other content, and once too much of it: that is no HTTP, and that connection ends."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: keep-alive, X-Hop\r\nX-Hop: a\r\n"
        b"Content-Length: 6\r\n\r\n"
    )
    said = [b"first!", b"second", b"third!", b"fourthbeyond", b"fifth!", b"sixth!"]
    came = list(said)

    def says(peer: Peer, seen: Seen) -> bool:
        peer.send(head + came.pop(0))
        return True

    world.upstream.behaviours["/behave/again"] = says
    before = world.upstream.connections
    with Caller(world.port) as caller:
        for content in said:
            answer = _served(world, caller)
            if len(content) > 6:
                assert answer.status == 502
                assert b"beyond" not in answer.body
                continue
            assert answer.status == 200
            assert answer.body == content
            assert answer.header("x-hop") is None
            assert answer.header("content-length") == "6"
    assert world.upstream.connections - before <= 2


def test_a_known_head_in_pieces_and_without_content(world: World) -> None:
    """Content that comes later, and the answer to HEAD, whose head says a length and has no content."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    pieces: list[tuple[bytes, ...]] = []
    goes_on = threading.Event()

    def says(peer: Peer, seen: Seen) -> bool:
        first, *rest = pieces.pop(0)
        peer.send(first)
        for piece in rest:
            goes_on.wait(60)
            peer.send(piece)
        return True

    world.upstream.behaviours["/behave/again"] = says
    with Caller(world.port) as caller:
        for _ in range(2):
            pieces.append((head + b"served",))
            assert _served(world, caller).body == b"served"
        for content in (b"", b"served"):  # a server that sends content where there is none
            pieces.append((head + content,))
            assert _served(world, caller, "HEAD").header("content-length") == "6"
        pieces.append((head + b"ser", b"ved"))
        goes_on.set()
        assert _served(world, caller).body == b"served"
        pieces.append((head + b"served",))
        assert _served(world, caller).body == b"served"


def test_a_cookie_is_for_whom_it_was_set(world: World) -> None:
    """And an answer with one is not kept."""
    said = [b"a=1", b"b=2", b"a=1"]
    came = list(said)

    def says(peer: Peer, seen: Seen) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nContent-Length: 2\r\n\r\nok" % came.pop(0))
        return True

    world.upstream.behaviours["/behave/again"] = says
    for cookie in said:
        with Caller(world.port) as caller:
            assert _served(world, caller).header("set-cookie") == cookie.decode()
    assert b"cookie" not in b"".join(world.gateway.do(lambda: _known(world))).lower()


def _known(world: World) -> list[bytes]:
    sides = world.gateway.worker.state.services.values()
    return [head for side in sides for origin in side.cluster.origins for head in origin.answers]
