"""`portero demo`: one command, something to sign in to, and nothing left behind."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import httpx2

from portero.cli.demo import PASSWORD, SERVICE, USERNAME
from tests.cli.running import PORTERO, clean_environment, read_until


def test_the_demo_does_what_it_prints_and_leaves_nothing(tmp_path: Path) -> None:
    """Its addresses answer, its client gets a token, Ctrl-C ends it with code 0 and an empty folder."""
    environment = clean_environment() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [PORTERO, "demo", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            printed = read_until("and call services as audience", process.stdout)
            issuer = re.findall(r"http://localhost:\d+", printed)[0]
            secret = re.findall(rf"-u {SERVICE}:(\S+)", printed)[0]

            discovery = httpx2.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).json()
            assert discovery["issuer"] == issuer
            token = httpx2.post(
                discovery["token_endpoint"],
                data={"grant_type": "client_credentials", "scope": "revocations:read"},
                auth=(SERVICE, secret),
                trust_env=False,
            )
            assert token.status_code == 200, token.text
            assert f"{USERNAME} / {PASSWORD}" in printed

            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
