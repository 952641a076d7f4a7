"""`portero feed relay` as a process: it serves, says where, stops when told, and refuses what it cannot do."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from portero.resource_server import Guard, Principal
from portero.testing.jwks_server import CLIENT_ID, CLIENT_SECRET, JwksServer
from portero.testing.tokens import AUDIENCE
from tests.cli.running import PORTERO, clean_environment

MANIFEST = """
layout = "middleware"

[issuers.main]
issuer = "{issuer}"
revocation = {{ client_id = "{client}", secret_env = "FEED_SECRET"{more} }}

[services.orders]
audience = "https://shop.example/orders"
default = "authenticated"
"""


def manifest_in(folder: Path, server: JwksServer, *, more: str = "") -> None:
    text = MANIFEST.format(issuer=server.url, client=CLIENT_ID, more=more)
    (folder / "portero.toml").write_text(text)


def relay(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PORTERO, "feed", "relay", *arguments],
        cwd=folder,
        env={**clean_environment(), "FEED_SECRET": CLIENT_SECRET},
        stderr=subprocess.PIPE,
        text=True,
    )


def refusal(folder: Path, *arguments: str) -> str:
    with relay(folder, *arguments) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    return said


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """The socket is the manifest's, for one group where that is named; SIGTERM takes it away again."""
    path = tmp_path / "feed.sock"
    with JwksServer() as server:
        manifest_in(tmp_path, server, more=f', relay = "{path}"')
        server.issuer.revoke(sid="s1")
        with relay(tmp_path, "--group", "nogroup") as process:
            assert process.stderr is not None
            assert f"is relayed at {path}" in process.stderr.readline()
            feed = replace(server.feed(), relay=path)
            guard = Guard(
                issuers=[server.url], audience=AUDIENCE, revocation=feed, startup_patience=timedelta(seconds=20)
            )
            guard.start_sync()
            refused = guard.check_sync(server.issuer.mint(sid="s1").encode(), guard.requires())
            admitted = guard.check_sync(server.issuer.mint(sid="s2").encode(), guard.requires())
            streams = server.asked["/revocations/stream"]
            found = path.stat()
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            guard.close()

    assert (process.returncode, path.exists(), streams) == (0, False, 1)
    assert not isinstance(refused, Principal)
    assert isinstance(admitted, Principal)
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid != os.getegid()


@pytest.mark.parametrize(
    ("more", "arguments", "says"),
    [
        ("", (), "issuers.*.revocation.relay"),
        ("", ("--socket", "here.sock"), "absolute path"),
        ("", ("--socket", "/nowhere/at/all.sock"), "no relay can be served"),
        ("", ("--socket", "/run/x.sock", "--group", "no such group"), "no group of this host"),
        (", serve_relay = true", (), "relay"),
    ],
)
def test_what_it_cannot_do_it_says(tmp_path: Path, more: str, arguments: tuple[str, ...], says: str) -> None:
    """One line that names the setting."""
    with JwksServer() as server:
        manifest_in(tmp_path, server, more=more)
        assert says in refusal(tmp_path, *arguments)


def test_two_relays_do_not_serve_one_socket(tmp_path: Path) -> None:
    """The second says so and leaves the first alone."""
    path = tmp_path / "feed.sock"
    with JwksServer() as server:
        manifest_in(tmp_path, server, more=f', relay = "{path}"')
        with relay(tmp_path) as first:
            assert first.stderr is not None
            first.stderr.readline()
            assert "another relay serves" in refusal(tmp_path)
            assert first.poll() is None
            first.kill()
