"""`portero feed relay`: one subscription for all processes of this host."""

from __future__ import annotations

import asyncio
import grp
import os
import signal
from contextlib import suppress
from pathlib import Path

import click

from portero.adapters.system import SystemClock
from portero.cli.manifest import read_manifest
from portero.core.errors import ConfigurationError, Unavailable
from portero.resource_server.issuers import RevocationFeed
from portero.resource_server.manifest_guard import trusted_issuer
from portero.resource_server.relay import Relay, RelayedIssuer
from portero.resource_server.relay_socket import ServingLock, check_socket_path, listening

SETTLING = 2.0
"""Seconds for which a lock that is held may be a neighbour's brief look at it."""


def run_relay(file: Path, *, path: Path | None, group: str | None) -> None:
    """Serve until told to stop.

    Args:
        file: the manifest.
        path: of the socket; None: as the manifest says.
        group: whose members may connect; None: only this user.

    Raises:
        ConfigurationError: the manifest, the path or the group is wrong.
        Unavailable: another relay serves there, or the socket cannot be made.
    """
    manifest = read_manifest(file)
    followed = [issuer for issuer in manifest.issuers.values() if issuer.revocation is not None]
    if not followed:
        raise ConfigurationError("issuers", str(file), "no issuer of the manifest has a feed to relay")
    if path is None:
        named = {issuer.revocation.relay for issuer in followed if issuer.revocation is not None}
        if len(named) != 1 or None in named:
            expected = "must be the same for all issuers that have a feed; or say --socket PATH"
            raise ConfigurationError("issuers.*.revocation.relay", sorted(map(str, named)), expected)
        path = Path(str(named.pop()))

    check_socket_path(path, setting="--socket")
    group_id = _group_id(group)
    issuers = [trusted_issuer(issuer, os.environ, file=str(file)) for issuer in followed]
    relayed = [RelayedIssuer(one, one.revocation) for one in issuers if isinstance(one.revocation, RevocationFeed)]
    with suppress(asyncio.CancelledError):
        asyncio.run(_serve(relayed, path, group_id))
    click.echo("stopped", err=True)


def _group_id(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError("--group", name, "is no group of this host") from None


async def _serve(relayed: list[RelayedIssuer], path: Path, group_id: int | None) -> None:
    lock = await _lock(path)
    try:
        made = listening(lock, mode=0o600 if group_id is None else 0o660, group=group_id)
        running = asyncio.create_task(Relay(relayed, clock=SystemClock()).run(made), name="relay")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        for one in relayed:
            click.echo(f"portero: the feed of {one.issuer.issuer} is relayed at {path} (stop with Ctrl-C)", err=True)
        await running
    finally:
        lock.release()


async def _lock(path: Path) -> ServingLock:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLING
    while True:
        lock = ServingLock.taken(path)
        if lock is not None:
            return lock
        if loop.time() > deadline:
            raise Unavailable(f"another relay serves {path}; stop it first")
        await asyncio.sleep(0.05)
