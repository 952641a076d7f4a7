"""The authorization server killed, PostgreSQL killed, the network gone: a real Guard over real servers.

In each: what was revoked is refused once the feed is heard again, whenever it was revoked; a good token is served all
the time, except where a route chose to refuse when stale; and nothing needed a new snapshot but a restored database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.testing.postgresql import running_postgres
from tests.cli.running import PORTERO, clean_environment, run
from tests.faults.following import following, session_of, sign_out, until
from tests.races.fleet import BACKEND, SECRET, Fleet, Process


def test_a_server_killed_and_started_again_loses_no_revocation(tmp_path: Path) -> None:
    """Revoked before the kill, while it was down (by the command line, on the same file), and after."""
    with Fleet(tmp_path, size=1) as fleet, following(fleet) as service:
        before, meanwhile, after, good = fleet.signed_in(4, client=BACKEND)
        assert all(service.admits(tokens) for tokens in (before, meanwhile, after, good))
        sign_out(fleet, before)
        fleet.servers[0].kill()
        ended = run(tmp_path, "sessions", "end", session_of(meanwhile), "--config", "server-0.toml")
        assert ended.returncode == 0, ended.stderr
        assert service.admits(good)
        fleet.start()
        sign_out(fleet, after)

        until(lambda: not any(service.admits(tokens) for tokens in (before, meanwhile, after)))
        assert service.admits(good)


def test_postgresql_killed_and_started_again_loses_no_revocation(tmp_path: Path) -> None:
    """Two servers on one database: what one writes afterwards still wakes the subscribers of the other."""
    with (
        running_postgres() as postgres,
        Fleet(tmp_path, postgres.create_database("faults")) as fleet,
        following(fleet) as service,
    ):
        before, after, good = fleet.signed_in(3, client=BACKEND)
        assert all(service.admits(tokens) for tokens in (before, after, good))
        sign_out(fleet, before, server=1)
        until(lambda: not service.admits(before))
        postgres.kill()
        assert service.admits(good)
        postgres.start()
        # The feed is that of server 0; the sign-out goes to server 1, as soon as it has its database again.
        until(lambda: _signed_out(fleet, after))

        until(lambda: not service.admits(after))
        assert service.admits(good)
        assert not service.admits(before)


def _signed_out(fleet: Fleet, tokens: dict[str, str]) -> bool:
    form = {"token": tokens["refresh_token"], "client_id": BACKEND.client_id, "client_secret": SECRET}
    return fleet.post("/revoke", form, server=1).status_code == 200


# ── a partition ──────────────────────────────────────────────────────────────────────


def in_namespace(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


@contextlib.contextmanager
def namespace() -> Iterator[tuple[str, str, str]]:
    """A network namespace with a cable to ours: its name, our end of the cable, its address."""
    number = os.getpid() % 200
    name, ours, theirs = f"portero{os.getpid()}", f"pa{os.getpid()}", f"pb{os.getpid()}"
    address = f"10.213.{number}.2"
    problem = in_namespace("ip", "netns", "add", name)
    if problem:
        pytest.skip(f"a partition needs network namespaces, and this machine does not let us make one: {problem}")
    try:
        for command in (
            f"ip link add {ours} type veth peer name {theirs} netns {name}",
            f"ip addr add 10.213.{number}.1/30 dev {ours}",
            f"ip link set {ours} up",
            f"ip -n {name} addr add {address}/30 dev {theirs}",
            f"ip -n {name} link set {theirs} up",
            f"ip -n {name} link set lo up",
        ):
            problem = in_namespace(*command.split())
            if problem:
                pytest.skip(f"a partition needs a cable between namespaces, which cannot be made here: {problem}")
        yield name, ours, address
    finally:
        in_namespace("ip", "netns", "del", name)


@contextlib.contextmanager
def forwarded(port: int, *, to: str) -> Iterator[None]:
    """127.0.0.1:`port` here is the same port at `to`: what follows plain http follows it on this machine only."""

    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready = threading.Event()
    open_ends: set[asyncio.StreamWriter] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.add(writer)
        try:
            async with asyncio.timeout(2):
                there, out = await asyncio.open_connection(to, port)
        except (OSError, TimeoutError):
            writer.close()
            return
        open_ends.add(out)
        await asyncio.gather(pipe(reader, out), pipe(there, writer))

    async def serve() -> None:
        server = await asyncio.start_server(joined, "127.0.0.1", port)
        ready.set()
        await stop.wait()
        server.close()
        for end in open_ends:
            end.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


class Elsewhere(Process):
    """A server in another network namespace."""

    namespace = ""

    def launch(self) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, PORTERO, "serve", "--config", f"server-{self.number}.toml"],
            cwd=self.folder,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listens.clear()
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()


def test_a_partition_bounds_what_is_accepted_and_ends_without_a_gap(tmp_path: Path) -> None:
    """No packet comes through, and nobody says so: routes that refuse when stale refuse, the others serve; afterwards
    what was revoked meanwhile is refused."""
    with namespace() as (name, cable, address), contextlib.ExitStack() as stack:
        fleet = Fleet(tmp_path, size=1, settings=f'host = "{address}"\n')
        (here,) = fleet.servers
        there = Elsewhere(here.folder, 0, here.issuer, here.port, here.settings)
        there.namespace = name
        fleet.servers = [there]
        stack.enter_context(forwarded(here.port, to=address))
        stack.enter_context(fleet)
        service = stack.enter_context(following(fleet, stale_after=2.0))
        revoked, good = fleet.signed_in(2, client=BACKEND)
        assert service.admits(revoked)
        until(lambda: not service.denies(good))

        assert not in_namespace("ip", "link", "set", cable, "down")
        ended = run(tmp_path, "sessions", "end", session_of(revoked), "--config", "server-0.toml")
        assert ended.returncode == 0, ended.stderr
        until(lambda: service.denies(good))
        assert service.admits(good)
        assert service.guard.readiness().alarms

        assert not in_namespace("ip", "link", "set", cable, "up")
        until(lambda: not service.admits(revoked))
        until(lambda: not service.denies(good))
        assert service.admits(good)
