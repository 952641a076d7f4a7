"""Smuggling, by one rule: every request the server saw was authorized as itself (attack rows 76, 85, 86, 94).

The caller's token opens `/orders/…` and nothing else. Whatever bytes it sends, in whatever pieces they
arrive: the server never sees `/admin/…`, never a request without that token, and never anything it
cannot read.
"""

from __future__ import annotations

import random
import re

import pytest

from tests.gateway.embedded.conftest import World
from tests.gateway.embedded.running import Caller

HIDDEN = b"GET /api/admin/1 HTTP/1.1\r\nHost: a\r\n\r\n"


BEHIND = -1
"""In one piece, on a connection that just served a request with the same head."""


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with the caller's token (filled in later), these lines and this body."""
    return b"\r\n".join((b"POST /api/orders/1 HTTP/1.1", b"Host: a", b"Authorization: Bearer TOKEN", *lines, b"", body))


def _get(target: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((b"GET " + target + b" HTTP/1.1", b"Host: a", b"Authorization: Bearer TOKEN", *lines, b"", b""))


LENGTH = b"Content-Length: %d" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
REFUSED = {
    "length and chunks": _post(LENGTH, CHUNKED, body=END + HIDDEN),
    "chunks and length": _post(CHUNKED, LENGTH, body=END + HIDDEN),
    "two lengths": _post(b"Content-Length: 0", LENGTH, body=HIDDEN),
    "two equal lengths": _post(LENGTH, LENGTH, body=HIDDEN),
    "lengths in a list": _post(b"Content-Length: 0, 0", body=HIDDEN),
    "signed length": _post(b"Content-Length: +0", body=HIDDEN),
    "negative length": _post(b"Content-Length: -1", body=HIDDEN),
    "hexadecimal length": _post(b"Content-Length: 0x10", body=HIDDEN),
    "length with an underscore": _post(b"Content-Length: 1_0", body=HIDDEN),
    "empty length": _post(b"Content-Length:", body=HIDDEN),
    "enormous length": _post(b"Content-Length: 99999999999999999999", body=HIDDEN),
    "length with spaces inside": _post(b"Content-Length: 0 0", body=HIDDEN),
    "space before the colon": _post(b"Content-Length : 0", LENGTH, body=HIDDEN),
    "space before the coding's colon": _post(b"Transfer-Encoding : chunked", LENGTH, body=END + HIDDEN),
    "tab before the coding": _post(b"\tTransfer-Encoding: chunked", LENGTH, body=END + HIDDEN),
    "folded coding": _post(b"Transfer-Encoding:\r\n chunked", LENGTH, body=END + HIDDEN),
    "folded header": _get(b"/api/orders/1", b"X-A: b\r\n c"),
    "two codings": _post(CHUNKED, b"Transfer-Encoding: identity", body=END + HIDDEN),
    "two equal codings": _post(CHUNKED, CHUNKED, body=END + HIDDEN),
    "identity": _post(b"Transfer-Encoding: identity", body=END + HIDDEN),
    "coding in a list": _post(b"Transfer-Encoding: gzip, chunked", body=END + HIDDEN),
    "chunked twice": _post(b"Transfer-Encoding: chunked, chunked", body=END + HIDDEN),
    "chunked not last": _post(b"Transfer-Encoding: chunked, identity", body=END + HIDDEN),
    "misspelt coding": _post(b"Transfer-Encoding: xchunked", LENGTH, body=END + HIDDEN),
    "coding with a quote": _post(b'Transfer-Encoding: "chunked"', body=END + HIDDEN),
    "coding with a vertical tab": _post(b"Transfer-Encoding: \x0bchunked", LENGTH, body=END + HIDDEN),
    "coding with an underscore": _post(b"Transfer_Encoding: chunked", LENGTH, body=END + HIDDEN),
    "chunk extension": _post(CHUNKED, body=b"0;a=b\r\n\r\n" + HIDDEN),
    "chunk extension with a bare LF": _post(CHUNKED, body=b"2;\n\r\nab\r\n0\r\n\r\n" + HIDDEN),
    "chunk size with a prefix": _post(CHUNKED, body=b"0x0\r\n\r\n" + HIDDEN),
    "chunk size with a sign": _post(CHUNKED, body=b"+0\r\n\r\n" + HIDDEN),
    "chunk size with a space": _post(CHUNKED, body=b"0 \r\n\r\n" + HIDDEN),
    "empty chunk size": _post(CHUNKED, body=b"\r\n\r\n" + HIDDEN),
    "enormous chunk size": _post(CHUNKED, body=b"100000000000000000\r\n" + HIDDEN),
    "chunk lines end in LF": _post(CHUNKED, body=b"0\n\n" + HIDDEN),
    "chunk longer than said": _post(CHUNKED, body=b"1\r\nabc\r\n0\r\n\r\n" + HIDDEN),
    "bare CR in a chunk size": _post(CHUNKED, body=b"0\r\r\n\r\n" + HIDDEN),
    "bad trailer": _post(CHUNKED, body=b"0\r\nno colon\r\n\r\n" + HIDDEN),
    "lines end in LF": _get(b"/api/orders/1").replace(b"\r\n", b"\n"),
    "target ends in LF, and a header follows": _get(b"/api/orders/1?a\nX-User: admin"),
    "target of a public route ends in LF": b"GET /api/public/1?a\nX-User: admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "space behind the target": _get(b"/api/orders/1?a "),
    "one line ends in LF": _get(b"/api/orders/1", b"X-A: b\nX-C: d"),
    "bare CR in a value": _get(b"/api/orders/1", b"X-A: b\rX-C: d"),
    "NUL in a value": _get(b"/api/orders/1", b"X-A: b\x00"),
    "NUL in a name": _get(b"/api/orders/1", b"X\x00A: b"),
    "no colon": _get(b"/api/orders/1", b"X-A"),
    "empty name": _get(b"/api/orders/1", b": b"),
    "two Hosts": _get(b"/api/orders/1", b"Host: b"),
    "no Host": b"GET /api/orders/1 HTTP/1.1\r\nAuthorization: Bearer TOKEN\r\n\r\n",
    "bad Host": b"GET /api/orders/1 HTTP/1.1\r\nHost: a/../b\r\nAuthorization: Bearer TOKEN\r\n\r\n",
    "two Authorizations": _get(b"/api/orders/1", b"Authorization: Bearer TOKEN"),
    "two tokens joined": _get(b"/api/orders/1").replace(b"TOKEN\r\n", b"TOKEN, Bearer TOKEN\r\n"),
    "token in the query too": _get(b"/api/orders/1?access_token=x"),
    "absolute form": _get(b"http://a/api/admin/1"),
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n" + HIDDEN,
    "fragment": _get(b"/api/orders/1#/../../admin/1"),
    "dot segments": _get(b"/api/orders/../admin/1"),
    "encoded slash": _get(b"/api/orders/..%2fadmin%2f1"),
    "two spaces": b"GET  /api/orders/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n",
    "tab in the request line": b"GET\t/api/orders/1\tHTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n",
    "HTTP/0.9": b"GET /api/orders/1\r\n\r\n",
    "HTTP/1.2": _get(b"/api/orders/1").replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case method": _get(b"/api/orders/1").replace(b"GET", b"get"),
    "unknown method": _get(b"/api/orders/1").replace(b"GET", b"FETCH"),
    "TLS where none is": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "too many headers": _get(b"/api/orders/1", *(b"X-%d: a" % n for n in range(80))),
    "too large a head": _get(b"/api/orders/1", b"X-A: " + b"a" * 9000),
    "too large a body": _post(b"Content-Length: 2000000", body=b"a" * 1000),
    "too large a body in chunks": _post(CHUNKED, body=2 * (b"80001\r\n" + b"a" * 0x80001 + b"\r\n")),
    "another expectation": _post(b"Expect: 200-ok", b"Content-Length: 0"),
}  # fmt: skip
PASSED = {
    "length hides a request": _post(LENGTH, body=HIDDEN),
    "chunk hides a request": _post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    "hidden behind a whole one": _get(b"/api/orders/1") + HIDDEN,
    "hidden behind chunks": _post(CHUNKED, body=END + HIDDEN),
    "h2c upgrade with early data": _get(b"/api/orders/1", b"Connection: Upgrade", b"Upgrade: h2c") + HIDDEN,
    "upgrade with a body": _post(b"Connection: Upgrade", b"Upgrade: websocket", LENGTH, body=HIDDEN),
    "upgrade that is refused": _get(
        b"/api/orders/1", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    ) + HIDDEN,
    "length named hop by hop": _post(b"Connection: Content-Length", LENGTH, body=HIDDEN),
    "Authorization named hop by hop": _get(b"/api/orders/1", b"Connection: close, Authorization"),
    "coding in capitals": _post(b"Transfer-Encoding: CHUNKED", body=END + HIDDEN),
    "GET with a body": _get(b"/api/orders/1", LENGTH) + HIDDEN,
    "empty lines before": b"\r\n\r\n" + _get(b"/api/orders/1"),
}  # fmt: skip


def _pieces(data: bytes, seed: int) -> list[bytes]:
    """The same bytes, cut at random places; whole for `BEHIND`."""
    if seed == BEHIND:
        return [data]
    source = random.Random(seed)
    cuts = sorted(source.randrange(len(data)) for _ in range(source.choice((0, 1, 3, 8))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


def _sent(world: World, data: bytes, *, seed: int) -> bytes:
    """Send it in pieces, close our side, and read to the end."""
    with Caller(world.port) as caller:
        if seed == BEHIND:
            token = re.search(rb"Bearer ([^,\r\n]+)", data)
            for _ in range(2):
                caller.send(_get(b"/api/orders/1").replace(b"TOKEN", token[1] if token else b"none"))
                caller.answer()
            world.upstream.seen.clear()
        try:
            for piece in _pieces(data, seed):
                caller.send(piece)
            # A last request that is well-formed, and says to close: so the answers have an end.
            caller.send(b"GET /api/none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        return caller.until_end()


def _every_request_was_authorized_as_itself(world: World, token: str) -> None:
    assert world.upstream.broken == []
    for seen in world.upstream.seen:
        assert seen.all("authorization") == [f"Bearer {token}"], seen
        assert seen.target.startswith("/orders/"), seen
        assert len(seen.all("host")) == 1


@pytest.mark.attack(row=94)
@pytest.mark.parametrize("seed", [0, 1, BEHIND])
@pytest.mark.parametrize("name", REFUSED)
def test_what_two_readers_could_read_differently_is_refused(world: World, name: str, seed: int) -> None:
    """RFC 9112 §11.2: refused with a status of the client's, or a clean close; nothing of it is sent on whole."""
    token = world.token()

    answer = _sent(world, REFUSED[name].replace(b"TOKEN", token.encode()), seed=seed)

    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5", b""), answer
    assert answer[:12] not in (b"HTTP/1.1 500", b"HTTP/1.1 502", b"HTTP/1.1 504")
    _every_request_was_authorized_as_itself(world, token)
    assert all(not seen.target.startswith("/admin") for seen in world.upstream.seen)
    assert world.upstream.seen == []


@pytest.mark.attack(row=94)
@pytest.mark.parametrize("seed", [0, 1, BEHIND])
@pytest.mark.parametrize("name", PASSED)
def test_what_is_sent_behind_a_request_is_decided_as_itself(world: World, name: str, seed: int) -> None:
    """The first is served; what stands in its body is body, and what follows it needs its own token."""
    token = world.token()

    answer = _sent(world, PASSED[name].replace(b"TOKEN", token.encode()), seed=seed)

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 200" not in answer[12:]
    assert len(world.upstream.seen) == 1
    _every_request_was_authorized_as_itself(world, token)


@pytest.mark.attack(row=94)
def test_random_bytes_between_requests_smuggle_nothing(world: World) -> None:
    """Mutations of well-formed requests: whatever comes through was authorized as itself."""
    source = random.Random(7)
    token = world.token()
    seeds = [*REFUSED.values(), *PASSED.values()]
    bits = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"0\r\n\r\n",
        CHUNKED + b"\r\n",
        LENGTH + b"\r\n",
        HIDDEN,
        b"\x00",
        b";",
        b":",
    ]
    for number in range(300):
        data = source.choice(seeds)
        for _ in range(source.randrange(1, 4)):
            place = source.randrange(len(data))
            data = data[:place] + source.choice(bits) + data[place + source.choice((0, 1, 2)) :]
        if len(data) < 4000:
            _sent(world, data.replace(b"TOKEN", token.encode()), seed=number)

    for seen in world.upstream.seen:
        assert seen.all("authorization") == [f"Bearer {token}"], seen
        assert seen.target.startswith("/orders/"), seen
    assert world.upstream.broken == []
