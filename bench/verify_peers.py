"""The verifiers that run in processes of their own: golang-jwt, the Node libraries, python-jose.

Each process is given its tokens and keys in one line of JSON, answers with a line that names its libraries, their
versions and algorithms, and from then on each line `LIBRARY ALG N` with the nanoseconds of processor time N tokens
took. What is not installed yet is installed into `.build/peers` at the first run; what cannot be is said to be missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".build/peers"
SOURCES = ROOT / "bench/peers"
NODE_PACKAGES = ("jose@6.2.18", "fast-jwt@6.3.6")
PYTHON_JOSE = "python-jose[cryptography]==3.5.0"
"""Abandoned, and measured because it is still in use: never in our own environment or locks."""
INSTALLING_SECONDS = 300


class PeerMissing(Exception):
    """A peer that cannot be measured here, and why."""


class Peer:
    """One process and the libraries in it."""

    def __init__(self, command: Sequence[str | Path], work: Sequence[dict[str, Any]]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = json.loads(self._asked(json.dumps(work)))
        self.libraries: dict[str, dict[str, Any]] = told
        """Library → its `version` and the `algorithms` it can verify."""

    def nanoseconds(self, library: str, alg: str, count: int) -> int:
        """The processor time that verifying `count` tokens took."""
        return int(self._asked(f"{library} {alg} {count}"))

    def close(self) -> None:
        """End the process by ending its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _asked(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.kill()
            raise PeerMissing(f"ended with {self._process.wait()}")
        return answer


def start_all(work: Sequence[dict[str, Any]]) -> tuple[list[Peer], dict[str, str]]:
    """Start every peer; beside them, the missing ones with the reason.

    Args:
        work: of each algorithm `alg`, `token`, `legacy_token` (named as before RFC 9864), `jwk`, `issuer`, `audience`.
    """
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    for names, command in (("golang-jwt", _golang), ("jose, fast-jwt", _node), ("python-jose", _python_jose)):
        try:
            peers.append(Peer(command(), work))
        except (PeerMissing, OSError, subprocess.SubprocessError, ValueError) as error:
            missing |= dict.fromkeys(names.split(", "), str(error))
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}", file=sys.stderr)
    return peers, missing


def _golang() -> list[str | Path]:
    if shutil.which("go") is None:
        raise PeerMissing("go is not on PATH")
    folder = BUILD / "golang"
    folder.mkdir(parents=True, exist_ok=True)
    for source in (ROOT / "bench/golang").iterdir():
        shutil.copy(source, folder / source.name)
    _run("go", "build", "-o", "verify", ".", folder=folder)
    return [folder / "verify"]


def _node() -> list[str | Path]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise PeerMissing("node or npm is not on PATH")
    folder = BUILD / "node-jwt"
    wanted = " ".join(NODE_PACKAGES)
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        _run("npm", "install", "--silent", "--no-fund", "--no-audit", *NODE_PACKAGES, folder=folder)
        stamp.write_text(wanted)
    return ["node", SOURCES / "verify.mjs", folder]


def _python_jose() -> list[str | Path]:
    folder = BUILD / "python-jose"
    python = folder / "bin/python"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != PYTHON_JOSE:
        uv = ROOT / ".venv/bin/uv"
        if not uv.exists():
            raise PeerMissing("uv is not installed: run tools/bootstrap bench")
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder, folder=ROOT)
        _run(uv, "pip", "install", "--quiet", "--python", python, PYTHON_JOSE, folder=ROOT)
        stamp.write_text(PYTHON_JOSE)
    return [python, SOURCES / "python_jose.py"]


def _run(*command: str | Path, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALLING_SECONDS, check=False
    )
    if done.returncode != 0:
        raise PeerMissing(f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()[-300:]}")
