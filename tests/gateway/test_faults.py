"""Faults while requests come in: no valid one is refused, no revoked one served, nothing open before it is ready."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portero.testing.jwks_server import Behaviour, JwksServer
from portero.testing.tokens import new_key
from tests.gateway.engines import PATIENCE, Running
from tests.gateway.world import ORDERS, World, manifest_text, start


@pytest.fixture
def world(engine: str, tmp_path: Path) -> Iterator[World]:
    """A gateway of this test alone."""
    one = start(engine, tmp_path)
    yield one
    one.close()


@pytest.fixture(scope="module")
def steady(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One gateway for the tests that leave it as it was."""
    one = start(engine, tmp_path_factory.mktemp(engine))
    yield one
    one.close()


class Load:
    """One caller that asks again and again over one connection, and keeps what it was told."""

    def __init__(self, world: World, token: Callable[[], str]) -> None:
        self._port = world.gateway.port
        self._token = token
        self.statuses: Counter[int] = Counter()
        """0: the connection broke."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        self.wait(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def wait(self, more: int) -> None:
        """Until so many more requests were answered."""
        wanted = self.answered + more
        until(lambda: self.answered >= wanted)

    @property
    def answered(self) -> int:
        return sum(count for status, count in self.statuses.items() if status)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/api/orders/5", headers={"authorization": f"Bearer {self._token()}"})
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
                self._stop.wait(0.002)  # the gateway needs the core more than its caller
            except (OSError, http.client.HTTPException):
                self.statuses[0] += 1
                connection.close()
                self._stop.wait(0.01)
        connection.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status_of(world: World, token: str, path: str = "/api/orders/5") -> int:
    return world.gateway.request("GET", path, token=token).status


def test_a_key_is_changed_without_a_refusal(world: World) -> None:
    """Published first, then signed with: the old one's tokens are served all the while, the new one's once known."""
    issuer = world.server.issuer
    key = new_key(kid="key-new")
    with Load(world, world.token) as load:
        issuer.keys = [*issuer.keys, key]
        # An unknown `kid` makes the gateway ask the issuer, some seconds after it last did.
        early = issuer.tokens.mint(key=key, aud=ORDERS)
        until(lambda: status_of(world, early) == 200)
        issuer.tokens.key = key
        load.wait(50)
        issuer.keys = [key]
        load.wait(50)

    assert set(load.statuses) == {200}


def test_a_key_that_was_taken_back_verifies_nothing_more(world: World) -> None:
    """The emergency, under load: what it signed is refused, what its successor signs is served, and what another
    key of the issuer signs is never refused."""
    issuer = world.server.issuer
    stays, fresh = new_key(kid="key-stays"), new_key(kid="key-fresh")
    old, kid = world.token(), issuer.tokens.key.kid
    issuer.keys = [*issuer.keys, stays]
    world.gateway.stop()
    world.gateway.start_again()
    assert status_of(world, old) == 200
    with Load(world, lambda: issuer.tokens.mint(key=stays, aud=ORDERS, scope="orders:read")) as load:
        issuer.keys, issuer.tokens.key = [stays, fresh], fresh
        issuer.revoke(kid=kid)
        until(lambda: status_of(world, old) == 401)
        until(lambda: status_of(world, world.token()) == 200)
        with Load(world, world.token) as successor:
            successor.wait(20)
            load.wait(20)

    assert set(load.statuses) == set(successor.statuses) == {200}
    assert status_of(world, old) == 401


def test_a_changed_manifest_is_taken_over_without_a_refusal(world: World) -> None:
    """A route appears, a broken file changes nothing, another file puts it right."""
    text = manifest_text(world.server.url, world.orders.url, world.stock.url)
    more = text.replace(
        "[services.stock]", '[[services.orders.routes]]\nmatch = "GET /new"\npublic = true\n[services.stock]'
    )
    with Load(world, world.token) as load:
        assert status_of(world, world.token(), "/api/new") == 403
        world.gateway.write(more)
        until(lambda: status_of(world, world.token(), "/api/new") == 200)
        world.gateway.write(more.replace("layout =", "layuot ="))
        world.gateway.wait_for_log(b"is not used as it is now")
        assert status_of(world, world.token(), "/api/new") == 200
        world.gateway.write(text)
        until(lambda: status_of(world, world.token(), "/api/new") == 403)
        load.wait(20)

    assert set(load.statuses) == {200}


def test_a_lost_feed_refuses_nobody_and_forgets_nobody(world: World) -> None:
    """`when_stale = "allow"`: what was known stays known, what comes when it is back counts at once."""
    gone, later = world.token(sid="gone"), world.token(sid="later")
    world.server.issuer.revoke(sid="gone")
    until(lambda: status_of(world, gone) == 401)
    with Load(world, world.token) as load:
        world.server.behave(Behaviour.FAIL, path="/revocations/stream")
        world.server.streams_cut.set()
        load.wait(50)
        world.server.issuer.revoke(sid="later")
        assert status_of(world, gone) == 401
        world.server.streams_cut.clear()
        world.server.behave(None, path="/revocations/stream")
        until(lambda: status_of(world, later) == 401)

    assert set(load.statuses) == {200}


def test_a_gateway_that_starts_again_has_forgotten_no_revocation(world: World) -> None:
    """Killed without warning: nothing is open meanwhile, and nothing that was taken back is served after."""
    revoked = world.token(sid="gone")
    world.server.issuer.revoke(sid="gone")
    until(lambda: status_of(world, revoked) == 401)
    with Load(world, lambda: revoked) as load:
        world.gateway.kill()
        world.gateway.start_again()
        until(lambda: status_of(world, world.token()) == 200)
        load.wait(10)

    assert 200 not in load.statuses


def test_an_envoy_that_dies_is_started_again(tmp_path: Path) -> None:
    """With everything it knew."""
    world = start("envoy", tmp_path)
    try:
        envoy_dies(world)
    finally:
        world.close()


def envoy_dies(world: World) -> None:
    revoked = world.token(sid="gone")
    world.server.issuer.revoke(sid="gone")
    until(lambda: status_of(world, revoked) == 401)
    (child,) = children_of(world.gateway.process.pid)
    with Load(world, lambda: revoked) as load, Load(world, world.token) as good:
        os.kill(child, signal.SIGKILL)
        until(lambda: children_of(world.gateway.process.pid) not in ([child], []))
        good.wait(20)
        load.wait(20)

    assert set(load.statuses) <= {401, 503, 0}
    assert set(good.statuses) <= {200, 503, 0}


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_stopped_gateway_finishes_what_runs(world: World) -> None:
    """SIGTERM: the request that is being served gets its answer, then the process ends with 0."""
    answers: list[int] = []
    slow = threading.Event()
    world.orders.hold(slow)
    caller = threading.Thread(target=lambda: answers.append(status_of(world, world.token())))
    caller.start()
    until(lambda: bool(world.orders.seen))
    world.gateway.process.send_signal(signal.SIGTERM)
    until(lambda: world.gateway.ask("/readyz")[0] != 200)
    slow.set()
    caller.join(PATIENCE)

    assert answers == [200]
    assert world.gateway.stop() == 0


def test_nothing_is_open_before_keys_and_revocations_are_in(engine: str, tmp_path: Path) -> None:
    """Default deny: 503 or no connection at all, for every route; then ready by itself."""
    server = JwksServer(audience=ORDERS).__enter__()
    server.behave(Behaviour.FAIL, path="/revocations/snapshot")
    text = manifest_text(server.url, "http://127.0.0.1:1", "http://127.0.0.1:1")
    gateway = Running(engine, tmp_path, text)
    try:
        until(lambda: gateway.ask("/readyz")[0] == 503)
        token = server.issuer.mint(aud=ORDERS)
        for _ in range(20):
            try:
                assert gateway.request("GET", "/api/orders/5", token=token).status == 503
            except ConnectionRefusedError:
                continue
        assert b"no feed of" in gateway.ask("/readyz")[1]
        server.behave(None, path="/revocations/snapshot")
        gateway.wait_until_ready()
        # The upstream is nobody: the gateway's own failure is never the caller's.
        assert gateway.request("GET", "/api/orders/5", token=token).status in (502, 503)
    finally:
        gateway.stop()
        server.close()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"", 502),
        (b"HTTP/1.1 20", 502),
    ],
)
def test_an_upstream_that_speaks_nonsense_is_a_502_with_a_problem(steady: World, said: bytes, status: int) -> None:
    """And nothing of what it said is shown."""
    steady.forget()
    for _ in range(4):
        steady.orders.answer_next(said)
    answer = steady.gateway.request("POST", "/api/files/a", token=steady.token(scope="files:write"))

    assert answer.status == status
    assert answer.problem["status"] == status
    assert b"nonsense" not in answer.body
    assert b"127.0.0.1" not in answer.body
