"""Connections at both ends: TLS towards the servers, and how many one client may hold."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from portero.testing.jwks_server import JwksServer
from tests.gateway.embedded.certificates import write_certificate
from tests.gateway.embedded.conftest import ENVIRON, World, write_manifest
from tests.gateway.embedded.running import Caller, Peer, RunningGateway, Seen, Upstream, until


@contextmanager
def changed(
    folder: Path, issuer: JwksServer, change: Callable[[str], str], *, tls: ssl.SSLContext | None = None
) -> Iterator[World]:
    """A world whose manifest is changed before it starts."""
    upstream = Upstream(tls=tls)
    manifest = write_manifest(folder, issuer, upstream.port)
    manifest.write_text(change(manifest.read_text()))
    try:
        with RunningGateway(manifest, ENVIRON) as gateway:
            yield World(issuer, upstream, gateway)
    finally:
        upstream.close()


def secure(text: str) -> str:
    """The server is asked over TLS, by its name, and its certificate is the one beside the manifest."""
    return text.replace('upstreams = ["http://127.0.0.1', 'upstream_ca = "chain.pem"\nupstreams = ["https://localhost')


def serving(folder: Path, name: str = "localhost") -> ssl.SSLContext:
    folder.mkdir(exist_ok=True)
    write_certificate(folder, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return context


def test_servers_are_asked_over_tls(issuer: JwksServer, tmp_path: Path) -> None:
    """Bodies both ways, and one connection for several requests."""
    with changed(tmp_path, issuer, secure, tls=serving(tmp_path)) as world, Caller(world.port) as caller:

        def echoes(peer: Peer, seen: Seen) -> bool:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.body) + seen.body)
            return True

        world.upstream.behaviours["/behave/echo"] = echoes
        body = bytes(range(256)) * 2000
        for _ in range(3):
            caller.send(world.head("POST", "/api/behave/echo", f"Content-Length: {len(body)}") + body)
            answer = caller.answer()
            assert answer.status == 200
            assert answer.body == body
        assert world.upstream.connections == 1


def test_a_server_with_another_certificate_gets_no_request(issuer: JwksServer, tmp_path: Path) -> None:
    """Not one that nobody vouches for, nor one for another name: 502, and no token went there."""
    stranger = serving(tmp_path / "stranger")
    misnamed = serving(tmp_path, "elsewhere.test")
    for tls in (stranger, misnamed):
        with changed(tmp_path, issuer, secure, tls=tls) as world:
            assert world.ask("GET", "/api/orders/1").status == 502
            assert world.ask("POST", "/api/orders/1", "Content-Length: 2", body=b"{}").status == 502
            assert world.upstream.seen == []


def test_one_client_holds_so_many_connections_and_others_their_own(issuer: JwksServer, tmp_path: Path) -> None:
    """One more is told 503 and closed; where one ends, another may come."""

    def few(text: str) -> str:
        return text.replace("limits = { ", "limits = { connections_per_client = 3, ")

    with changed(tmp_path, issuer, few) as world, ExitStack() as held:

        def count() -> int:
            number: int = world.gateway.do(lambda: len(world.gateway.worker.connections))
            return number

        first = [held.enter_context(Caller(world.port)) for _ in range(3)]
        until(lambda: count() == 3)
        with Caller(world.port) as fourth:
            crowded = fourth.answer()
            assert crowded.status == 503
            assert crowded.header("retry-after") == "1"
            assert fourth.until_end() == b""
        other = held.enter_context(Caller(world.port, source="127.0.0.2"))
        for caller in (*first, other):
            caller.send(world.head("GET", "/api/orders/1"))
            assert caller.answer().status == 200
        until(lambda: count() == 4)
        first[0].socket.close()
        until(lambda: count() == 3)
        assert world.ask("GET", "/api/orders/1").status == 200
