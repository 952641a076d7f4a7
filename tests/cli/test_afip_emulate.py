"""`portero afip emulate`: it starts, says what to configure, and what it says is a configuration that works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx2
import pytest

from portero.authorization_server.config import load_config
from portero.authorization_server.sign_in.methods import open_methods
from portero.testing.afip import Switch


def test_what_it_prints_can_be_put_into_a_configuration(tmp_path: Path) -> None:
    """From nothing to a receiver that believes it; and its pages explain it in Spanish."""
    arguments = ["-m", "portero", "afip", "emulate", "--port", "0", "--folder", str(tmp_path / "afip")]
    running = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert running.stdout is not None
    try:
        printed = ""
        while "algorithm" not in printed:
            line = running.stdout.readline()
            assert line, printed
            printed += line
        table = re.sub(r"^  ", "", printed[printed.index("  [sign_in.password]") :], flags=re.MULTILINE)
        (tmp_path / "portero.toml").write_text(f"[authorization_server]\n{table}")
        methods = open_methods(load_config(tmp_path / "portero.toml", environ={}).sign_in)
        url = tomllib.loads(table)["sign_in"]["clave_fiscal"]["login_url"]
        with httpx2.Client(timeout=60, base_url=url.partition("/contribuyente_")[0]) as browser:
            front, login = browser.get("/"), browser.get(url)
            unknown = browser.get("/contribuyente_/login.xhtml?action=SYSTEM&system=otro")
            wrong = browser.post(url, data={"cuit": "20111111113"})
            sent = browser.post(url, data={"cuit": "20111111112", "falla": "expired"})
    finally:
        running.terminate()
        running.wait(60)
        running.stdout.close()

    assert list(methods) == ["password", "clave_fiscal"]
    assert "Lo que no se sabe de producción" in front.text
    assert all(f'value="{switch.value}"' in login.text for switch in Switch)
    assert (unknown.status_code, wrong.status_code) == (404, 422)
    assert 'name="token"' in sent.text
    assert 'name="sign"' in sent.text


@pytest.mark.parametrize("service", ["mi_servicio", "mi servicio=http://localhost/x", "a=ftp://x", "a=http://"])
def test_a_service_that_is_none_is_refused(service: str) -> None:
    """One clear line, and nothing is started."""
    done = subprocess.run(
        [sys.executable, "-m", "portero", "afip", "emulate", "--service", service],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert "--service" in done.stderr
