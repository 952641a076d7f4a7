"""The keys of the assertions change while requests run, and a service refuses none of them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portero.core.errors import ConfigurationError
from portero.core.jose.jws import unverified_header
from portero.gateway.assertions import AssertionKeys
from portero.gateway.key_rotation import BETWEEN, rotate
from tests.gateway.engines import PATIENCE
from tests.gateway.world import World


def kids(keys: AssertionKeys) -> list[str]:
    return [key.kid for key in keys.keys]


def test_a_key_waits_before_it_signs_and_retires_after(tmp_path: Path) -> None:
    """Whoever signs was published a step before, and stays published a step longer."""
    path = tmp_path / "keys"
    (first,) = kids(AssertionKeys.open(path))
    now = path.stat().st_mtime
    one = kids(rotate(path, now=now))
    assert one[0] == first
    assert len(one) == 2
    before = one
    for _ in range(3):
        after = kids(rotate(path, now=path.stat().st_mtime + BETWEEN))
        assert after[0] == before[1], "it was published"
        assert after[2] == before[0], "it stays published"
        assert after[1] not in before
        before = after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_step_too_early_changes_nothing_and_an_emergency_everything(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    now = time.time()
    known = kids(rotate(path, now=now))
    content = path.read_bytes()
    with pytest.raises(ConfigurationError, match="a moment ago"):
        rotate(path, now=path.stat().st_mtime + BETWEEN - 1)
    assert path.read_bytes() == content
    (only,) = kids(rotate(path, now=now, emergency=True))
    assert only not in known


def test_a_running_gateway_takes_the_keys_over(asserting: World) -> None:
    """Under either engine: the published set first, what signs with it, and every assertion's key is published."""
    file = asserting.gateway.file
    path = file.parent / "portero-gateway.keys"

    def published() -> list[str]:
        answer = asserting.gateway.request("GET", "/.well-known/portero-gateway/jwks.json")
        return [key["kid"] for key in json.loads(answer.body)["keys"]]

    def signs() -> str:
        asserting.forget()
        assert asserting.gateway.request("GET", "/api/orders", token=asserting.token()).status == 200
        (value,) = asserting.orders.seen[0].values("authorization")
        kid = str(unverified_header(value.removeprefix("Bearer ")).kid)
        assert kid in published()
        return kid

    for _ in range(2):
        old = time.time() - BETWEEN - 1
        os.utime(path, (old, old))
        command = [sys.executable, "-m", "portero", "keys", "rotate-gateway", "--manifest", str(file)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        expected = [line.split()[0] for line in said.splitlines()]
        deadline = time.monotonic() + PATIENCE
        while published() != expected or signs() != expected[0]:
            assert time.monotonic() < deadline, (published(), expected)


def test_what_a_killed_program_left_hinders_no_later_one(tmp_path: Path) -> None:
    """In a container every gateway is process 1: a half-written file of that name may be there."""
    file = tmp_path / "gateway.keys"
    left = tmp_path / f".{file.name}.{os.getpid()}"
    left.write_bytes(b"half")

    made = AssertionKeys.open(file)
    rotated = rotate(file, now=0.0)

    assert kids(rotated)[0] == kids(made)[0]
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == sorted([file, left])
