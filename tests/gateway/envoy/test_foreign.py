"""An Envoy that somebody else runs, by the files that `portero gateway --deliver-to` keeps fresh."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.gateway.envoy.binary import find_envoy
from portero.testing.jwks_server import Behaviour, JwksServer
from tests.gateway.engines import PATIENCE, Running
from tests.gateway.test_faults import Load, status_of, until
from tests.gateway.upstream import RecordingUpstream
from tests.gateway.world import ORDERS, World, manifest_text

SNAPSHOT = "/revocations/snapshot"
ALONE, BY_GUARD = "/api/orders/5", "/api/recent"
"""A route that Envoy decides alone, and one that it asks the Guard about."""


class Delivering(Running):
    """The control plane, and the Envoy beside it: two processes that live and die apart."""

    envoy: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        folder = self.file.parent / "envoy"
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "portero", "gateway", "--engine", "envoy", "--manifest", str(self.file),
                 "--deliver-to", str(folder)],
                env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def start_closed(self, world: World) -> None:
        """Start the control plane while the issuer gives no revocations."""
        world.server.behave(Behaviour.FAIL, path=SNAPSHOT)
        self.process = self._start()
        until(lambda: b"no feed of" in self.ask("/readyz")[1])

    def start_envoy(self) -> None:
        bootstrap = self.file.parent / "envoy" / "bootstrap.json"
        with self.log.open("ab") as log:
            self.envoy = subprocess.Popen(
                [find_envoy(), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self) -> int:
        if self.envoy is not None:
            self.envoy.kill()
            self.envoy.wait(PATIENCE)
        return super().stop()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[World, Delivering]]:
    server = JwksServer(audience=ORDERS).__enter__()
    orders, stock = RecordingUpstream("orders"), RecordingUpstream("stock")
    delivering = Delivering("envoy", tmp_path, manifest_text(server.url, orders.url, stock.url))
    world = World(server, orders, stock, delivering)
    yield world, delivering
    world.close()


def status(world: World, token: str, path: str = ALONE) -> int:
    """0: nobody listens."""
    try:
        return status_of(world, token, path)
    except OSError:
        return 0


def test_an_envoy_of_somebody_else_is_closed_until_the_files_are_whole(gateway: tuple[World, Delivering]) -> None:
    """Also where they were whole once: an Envoy that starts has no earlier day's keys to go by."""
    world, delivering = gateway
    delivering.wait_until_ready()
    delivering.kill()
    delivering.start_closed(world)
    delivering.start_envoy()
    token = world.token(sid="gone")
    until(lambda: status(world, token) == 503)
    assert status(world, token, BY_GUARD) == 503
    assert world.seen == []

    world.server.behave(None, path=SNAPSHOT)
    until(lambda: status(world, token) == 200)
    world.server.issuer.revoke(sid="gone")
    until(lambda: status(world, token) == 401)


def test_a_control_plane_that_is_killed_and_started_again_refuses_nobody_and_forgets_nobody(
    gateway: tuple[World, Delivering],
) -> None:
    """Under load. Envoy goes on by what it has; only what needs the Guard is 503. What was revoked meanwhile counts as
    soon as the new process has the snapshot, and until then nothing is closed again."""
    world, delivering = gateway
    delivering.wait_until_ready()
    delivering.start_envoy()
    revoked, meanwhile = world.token(sid="gone"), world.token(sid="meanwhile")
    until(lambda: status(world, revoked) == 200)
    world.server.issuer.revoke(sid="gone")
    until(lambda: status(world, revoked) == 401)
    with Load(world, world.token) as good, Load(world, lambda: revoked) as gone:
        delivering.kill()
        world.server.issuer.revoke(sid="meanwhile")
        good.wait(20)
        assert status(world, world.token(), BY_GUARD) == 503

        delivering.start_closed(world)
        good.wait(20)
        gone.wait(20)
        world.server.behave(None, path=SNAPSHOT)
        delivering.wait_until_ready()
        until(lambda: status(world, meanwhile) == 401)
        until(lambda: status(world, world.token(), BY_GUARD) == 200)
        good.wait(20)
        gone.wait(20)

    assert set(good.statuses) == {200}
    assert set(gone.statuses) == {401}
