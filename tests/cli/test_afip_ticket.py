"""`portero afip ticket`: JSON for a program, one clear line where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from portero.testing.adapter_conformance import serve_asgi
from portero.testing.afip import Emulator, emulator_app
from portero.testing.afip.authority import new_key, pem_of
from portero.testing.afip.wsaa import PATH


def test_a_ticket_is_printed_kept_and_not_shown_where_it_is_not_wanted(tmp_path: Path) -> None:
    """Twice is once for AFIP; a fault is one line that names its code, and no trace."""
    emulator = Emulator({"mi_servicio": "http://localhost/"})
    key = new_key()
    certificate = emulator.wsaa.authority.issue_computer("miapp", "20111111112", key.public_key(), now=emulator.now())
    (tmp_path / "a.crt").write_bytes(pem_of(certificate))
    pkcs8 = serialization.PrivateFormat.PKCS8
    password = serialization.BestAvailableEncryption(b"clave")
    (tmp_path / "a.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, password))

    with serve_asgi(emulator_app(emulator), lifespan="off") as url:
        where = url + PATH

        def ticket(*arguments: str, secret: str = "clave") -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "portero", "afip", "ticket", *arguments, "--url", where, "--folder", "kept"],
                capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
                env={
                    "PORTERO_AFIP_CERTIFICATE": "a.crt",
                    "PORTERO_AFIP_KEY": "a.key",
                    "PORTERO_AFIP_KEY_PASSWORD": secret,
                },
            )  # fmt: skip

        first, info = ticket("wsfe"), ticket("wsfe", "--info")
        locked = ticket("wsfe", secret="another")
        unknown = ticket("wsxx")

    whole, told = json.loads(first.stdout), json.loads(info.stdout)
    assert set(whole) - set(told) == {"token", "sign"}
    assert told["cuits"] == ["20111111112"]
    assert emulator.wsaa.given == 1
    assert (locked.returncode, unknown.returncode) == (1, 1)
    assert "password" in locked.stderr
    assert "wsn.notFound" in unknown.stderr
    assert len(unknown.stderr.splitlines()) == 1
