"""The pages about signing in by somebody else's word: their settings open, and their commands do what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from portero.authorization_server.sign_in.methods import offered_acr, open_methods
from portero.testing.adapter_conformance import serve_asgi
from portero.testing.afip import Emulator, emulator_app

PAGES = Path(__file__).resolve().parents[2] / "docs/how-to"


def test_the_settings_of_every_provider_open() -> None:
    """All tables of the page stand side by side in one file, and the class that it asks for is offered."""
    page = (PAGES / "sign-in-with-other-providers.md").read_text()
    tables = tomllib.loads("\n".join(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)))["sign_in"]
    offered = offered_acr(open_methods(tables))

    assert len(tables["openid"]) == 5
    assert "urn:portero:openid:staff:gold" in offered
    assert "urn:portero:autenticar:nivel:3" in offered


def test_a_program_gets_its_ticket_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and request by openssl, the certificate from the emulator, the ticket by command and from Python."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    page = (PAGES / "wsaa.es.md").read_text()
    with serve_asgi(emulator_app(Emulator({"mi_servicio": "http://localhost/"})), lifespan="off") as url:
        page = page.replace("http://localhost:9400", url)
        request, certify, ticket = re.findall(
            r"^\$ (openssl .*|curl --data.*|portero afip ticket .*)$", page, re.MULTILINE
        )
        subprocess.run(request.split(), check=True, capture_output=True)
        where, into = re.fullmatch(r'curl --data-binary @miapp.csr "(\S+)" -o (\S+)', certify).groups()  # type: ignore[union-attr]
        with urllib.request.urlopen(where, data=Path("miapp.csr").read_bytes()) as answer:  # noqa: S310 - loopback
            Path(into).write_bytes(answer.read())
        said = subprocess.run(
            [sys.executable, "-m", *ticket.split()], check=True, capture_output=True, text=True
        ).stdout
        names: dict[str, object] = {}
        exec(compile(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], "wsaa.es.md", "exec"), names)  # noqa: S102

    assert json.loads(said)["cuits"] == ["20111111112"]
    assert names["ticket"].cuits == ("20111111112",)  # type: ignore[attr-defined]
