"""Mistakes are told before Envoy is started, each by its setting and in a sentence that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portero.core.errors import ConfigurationError
from portero.gateway.engines import Options
from portero.gateway.envoy import binary
from portero.gateway.envoy.state import State
from tests.gateway.embedded.certificates import write_certificate
from tests.gateway.world import manifest_text

OTHER = "other"


def manifest(folder: Path, *, extra: str = "", orders: str = "http://127.0.0.1:2") -> Path:
    text = manifest_text("http://127.0.0.1:1", orders, "http://127.0.0.1:3", extra=extra)
    file = folder / "portero.toml"
    file.write_text(text.replace("{listen}", "127.0.0.1:4").replace("{admin}", "127.0.0.1:5"))
    return file


def certificate(**names: str) -> str:
    pair = {"certificate": "chain.pem", "key": "key.pem", **names}
    return f'tls = {{ certificate = "{pair["certificate"]}", key = "{pair["key"]}" }}'


@pytest.mark.parametrize(
    ("extra", "setting", "said"),
    [
        (certificate(certificate="no.pem"), "gateway.tls.certificate", "must be a file in PEM"),
        (certificate(key="no.pem"), "gateway.tls.key", "must be a file in PEM"),
        (certificate(key=f"{OTHER}/key.pem"), "gateway.tls.certificate", "must be a certificate and its key"),
        (certificate(certificate="portero.toml"), "gateway.tls.certificate", "must be a certificate and its key"),
        ("limits = { connections_per_client = 5 }", "gateway.limits.connections_per_client", "--engine embedded"),
        (
            '[services.third]\naudience = "https://third.test"',
            "services.third.upstreams",
            "must be given in",
        ),
        (
            '[services.third]\naudience = "https://third.test"\nupstreams = ["https://third.test"]\n'
            'upstream_ca = "portero.toml"',
            "services.third.upstream_ca",
            "must be certificates in PEM",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_by_its_setting(tmp_path: Path, extra: str, setting: str, said: str) -> None:
    write_certificate(tmp_path)
    (tmp_path / OTHER).mkdir()
    write_certificate(tmp_path / OTHER)
    file = manifest(tmp_path, extra=extra)

    with pytest.raises(ConfigurationError, match=said) as refused:
        State(file.read_text(), Options(file, {"FEED_SECRET": "x"}), instead_of=None)

    assert refused.value.setting.endswith(setting)


def test_what_is_right_is_not_refused(tmp_path: Path) -> None:
    """So that the refusals above are for what they name."""
    write_certificate(tmp_path)
    file = manifest(tmp_path, extra=certificate())

    State(file.read_text(), Options(file, {"FEED_SECRET": "x"}), instead_of=None)


@pytest.mark.parametrize("said", ["", "exit 1", "echo envoy version: abc/1.39.2/Clean/RELEASE/BoringSSL"])
def test_an_envoy_that_is_missing_or_another_is_answered_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """In one sentence, whether there is none on PATH, one that does not start, or one of another version."""
    monkeypatch.setattr(binary, "_of_the_package", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    if said:
        program = tmp_path / "envoy"
        program.write_text(f"#!/bin/sh\n{said}\n")
        program.chmod(0o755)

    with pytest.raises(ConfigurationError) as refused:
        binary.find_envoy()

    assert binary.INSTALL in str(refused.value)
    assert ("1.39" in str(refused.value)) == ("1.39" in said)


def test_compiling_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    """No traceback, no half configuration, and a code that a script can see."""
    file = manifest(tmp_path, extra="limits = { connections_per_client = 5 }")
    done = subprocess.run(
        [sys.executable, "-m", "portero", "manifest", "compile", str(file), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=60, env={**os.environ, "FEED_SECRET": "x"},
    )  # fmt: skip

    assert done.returncode != 0
    assert "gateway.limits.connections_per_client" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("delivered/*"))
