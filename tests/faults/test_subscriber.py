"""The stream cut on the wire again and again, and a subscriber's process stopped (SIGSTOP) and let go on.

At every single byte it is cut in `tests/core/revocation/test_subscription.py`, where a cut costs nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from portero.adapters.fetch import http
from portero.core.revocation import subscription
from portero.resource_server import Guard
from portero.testing.jwks_server import CLIENT_ID, CLIENT_SECRET, JwksServer
from portero.testing.tokens import AUDIENCE
from tests.faults.following import until
from tests.resource_server.test_drivers import OnThreads, admitted

EVENTS = 4
STRIDE = 23
"""Bytes: a cut inside every line of every event, after forty connections and not a thousand."""


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


def test_the_stream_may_be_cut_at_each_connection_a_little_later(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection ends a little later; every revocation arrives, and no snapshot is needed."""
    monkeypatch.setattr(subscription, "SHORTEST_BACKOFF", 0.0005)
    monkeypatch.setattr(subscription, "LONGEST_BACKOFF", 0.001)
    whole = threading.Event()
    connections = []

    def cut(chunks: Any) -> Iterator[bytes]:
        left = STRIDE * len(connections)
        connections.append(left)
        for chunk in chunks:
            if whole.is_set():
                yield chunk
                continue
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    plain = http.Fetcher.stream

    def cutting(self: Any, request: Any, *, silence: float) -> Any:
        @contextmanager
        def stream() -> Iterator[tuple[int, Iterator[bytes]]]:
            with plain(self, request, silence=silence) as (status, chunks):
                yield status, cut(chunks)

        return stream()

    monkeypatch.setattr(http.Fetcher, "stream", cutting)
    guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
    checked = OnThreads(guard)
    try:
        tokens = [server.issuer.mint(sid=f"s{n}") for n in range(EVENTS)]
        assert all(admitted(checked, token) for token in tokens)
        for n in range(EVENTS):
            server.issuer.revoke(sid=f"s{n}")
        length = len(server.issuer.events_after(0))
        until(lambda: STRIDE * len(connections) > length)
        whole.set()
        until(lambda: not any(admitted(checked, token) for token in tokens))

        assert admitted(checked, server.issuer.mint(sid="good"))
        assert server.asked["/revocations/snapshot"] == 1
    finally:
        whole.set()
        checked.close()


PROGRAM = """
import json, sys
from datetime import timedelta
from portero.core.types import Secret
from portero.resource_server import Guard, Principal, RevocationFeed

issuer, audience, client, secret = sys.argv[1:]
feed = RevocationFeed(client, Secret(secret), stale_after=timedelta(seconds=0.5))
guard = Guard(issuers=[issuer], audience=audience, revocation=feed, startup_patience=timedelta(seconds=30))
guard.start_sync()
routes = {"allow": guard.requires(), "deny": guard.requires(when_stale="deny")}
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    route, token = line.split()
    print(json.dumps(isinstance(guard.check_sync(token.encode(), routes[route]), Principal)), flush=True)
"""


def test_a_subscriber_that_was_stopped_serves_nothing_sensitive_until_it_has_caught_up(server: JwksServer) -> None:
    """SIGSTOP for longer than `stale_after`, SIGCONT: no old heartbeat in its buffers passes for news."""
    arguments = [sys.executable, "-c", PROGRAM, server.url, AUDIENCE, CLIENT_ID, CLIENT_SECRET]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def answer() -> Any:
            assert process.stdout is not None
            return json.loads(process.stdout.readline())

        def asks(route: str, token: str) -> None:
            assert process.stdin is not None
            process.stdin.write(f"{route} {token}\n")
            process.stdin.flush()

        def admits(route: str, token: str) -> bool:
            asks(route, token)
            return bool(answer())

        assert answer() == "ready"
        revoked, good = server.issuer.mint(sid="s1"), server.issuer.mint(sid="good")
        until(lambda: admits("deny", revoked) and admits("deny", good))
        os.kill(process.pid, signal.SIGSTOP)
        try:
            server.issuer.revoke(sid="s1")
            beats = threading.Event()
            beats.wait(1.0)  # longer than `stale_after`: this is the fault itself, not a wait for its effect
            asks("deny", revoked)  # waits in its pipe, and is the first thing it does
        finally:
            os.kill(process.pid, signal.SIGCONT)

        assert answer() is False
        until(lambda: not admits("allow", revoked))
        until(lambda: admits("deny", good))
        process.stdin.close()
