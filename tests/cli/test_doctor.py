"""`portero doctor`: each finding by the one thing that is wrong; and it changes nothing."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import CALLBACK, Server, add_people_and_clients, run


def examined(folder: Path, *more: str, code: int = 0, **environment: str) -> list[dict[str, Any]]:
    done = run(folder, "doctor", "--offline", "--json", *more, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    for finding in findings:
        # What is not all right always says what to do.
        assert (finding["verdict"] == "ok") is (finding["remedy"] == ""), finding
    return findings


def wrongs(folder: Path, **environment: str) -> list[tuple[str, str]]:
    findings = examined(folder, code=1, **environment)
    return [(each["about"], each["what"]) for each in findings if each["verdict"] == "wrong"]


@pytest.fixture(scope="module")
def after_a_first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-run")
    with Server(folder) as server:
        add_people_and_clients(folder)
        server.stop()
    return folder


@pytest.fixture
def used(after_a_first_run: Path, tmp_path: Path) -> Path:
    """A folder with a server's files, after a first run: a copy of its own for each test."""
    return shutil.copytree(after_a_first_run, tmp_path / "used")


def test_a_good_installation_has_nothing_wrong(used: Path) -> None:
    """Exit code 0, and the keys open."""
    findings = examined(used)

    assert "wrong" not in {finding["verdict"] for finding in findings}
    assert {"database", "secrets_file", "signing keys", "clients", "port"} <= {
        finding["about"] for finding in findings if finding["verdict"] == "ok"
    }


def test_it_makes_nothing(tmp_path: Path) -> None:
    """Before a first start everything is missing, nothing is wrong, and it stays so."""
    findings = examined(tmp_path)

    assert "wrong" not in {finding["verdict"] for finding in findings}
    assert list(tmp_path.iterdir()) == []


def test_a_running_server_answers_under_its_issuer(tmp_path: Path) -> None:
    """Port, discovery and clock are looked at over the wire."""
    with Server(tmp_path):
        done = run(tmp_path, "doctor", "--json")

        good = {finding["about"] for finding in json.loads(done.stdout) if finding["verdict"] == "ok"}
        assert {"port", "issuer", "clock"} <= good


def test_a_wrong_setting_is_found(tmp_path: Path) -> None:
    """By its key."""
    (tmp_path / "portero-server.toml").write_text('[authorization_server]\nisuer = "https://login.example"\n')

    assert "authorization_server.isuer" in wrongs(tmp_path)[0][1]


def test_a_settings_file_others_can_write_is_found(used: Path) -> None:
    """Whoever writes it chooses the database."""
    (used / "portero-server.toml").chmod(0o666)

    assert wrongs(used)[0][0] == "settings file"


def test_an_issuer_for_a_laptop_on_all_addresses_is_found(used: Path) -> None:
    """Left over from a first try."""
    assert wrongs(used, PORTERO_HOST="::")[0][0] == "issuer"


def test_trusting_everybody_is_found(tmp_path: Path) -> None:
    """Everybody could then choose an address."""
    (tmp_path / "portero-server.toml").write_text('[authorization_server]\ntrusted_proxies = ["0.0.0.0/0"]\n')

    assert wrongs(tmp_path)[0][0] == "trusted_proxies"


def test_secrets_others_can_read_are_found(used: Path) -> None:
    """With the command that mends it."""
    (used / "portero.secrets").chmod(0o644)

    findings = examined(used, code=1)

    remedy = next(finding["remedy"] for finding in findings if finding["verdict"] == "wrong")
    assert remedy.endswith(f"run: chmod 600 {used / 'portero.secrets'}")


def test_missing_secrets_are_found(used: Path) -> None:
    """Beside a used database that is an accident."""
    (used / "portero.secrets").unlink()

    assert wrongs(used)[0][0] == "secrets_file"


def test_secrets_of_another_database_are_found(used: Path) -> None:
    """They open nothing of this one."""
    secrets = json.loads((used / "portero.secrets").read_text())
    secrets["key_encryption_keys"]["keys"]["1"] = "00" * 32
    (used / "portero.secrets").write_text(json.dumps(secrets))

    assert wrongs(used)[0][0] == "signing keys"


def test_a_database_others_can_read_is_found(used: Path) -> None:
    """It has everybody's names and password hashes."""
    (used / "portero.db").chmod(0o644)

    assert wrongs(used)[0][0] == "database"


def test_a_file_that_is_no_database_is_found(used: Path) -> None:
    """Damaged, or something else."""
    (used / "portero.db").write_bytes(b"nonsense" * 1000)

    assert wrongs(used)[0][0] == "database"


@pytest.mark.parametrize("revision", ["9999", "nonsense"])
def test_a_newer_schema_is_found(used: Path, revision: str) -> None:
    """Another Portero made it."""
    with sqlite3.connect(used / "portero.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()

    assert wrongs(used)[0][0] == "database"


def test_a_folder_that_does_not_exist_is_found(tmp_path: Path) -> None:
    """Before the first start says so."""
    assert wrongs(tmp_path, PORTERO_DATABASE="none/portero.db")[0][0] == "database"


def test_near_end_for_an_unbound_public_client_is_found(used: Path) -> None:
    """Written past the command line; it would stop the next start too."""
    with sqlite3.connect(used / "portero.db") as connection:
        connection.execute("UPDATE clients SET rotation = 'near_end' WHERE client_id = 'page'")
    connection.close()

    assert wrongs(used)[0][0] == "client page"
    start = run(used, "serve")
    assert start.returncode == 1
    assert "clients.page.rotation is 'near_end'" in start.stderr


def test_what_is_left_from_a_laptop_is_noted(used: Path) -> None:
    """http redirects under an https issuer."""
    findings = examined(used, PORTERO_ISSUER="https://login.example")

    assert any(CALLBACK in finding["what"] for finding in findings if finding["verdict"] == "note")


def test_a_taken_port_is_found(used: Path) -> None:
    """By somebody who is no Portero."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()

        found = wrongs(used, PORTERO_PORT=str(holder.getsockname()[1]))

    assert found[0][0] == "port"


def test_a_clock_that_went_back_is_found(used: Path) -> None:
    """The audit trail comes from the future."""
    with sqlite3.connect(used / "portero.db") as connection:
        connection.execute("UPDATE audit SET at = at + 100000")
    connection.close()

    assert wrongs(used)[0][0] == "clock"


def test_people_read_it_as_text(used: Path) -> None:
    """A line per finding, an arrow before what to do."""
    done = run(used, "doctor", "--offline")

    assert done.returncode == 0
    assert "ok     database:" in done.stdout
    assert "→ set issuer before others use it" in done.stdout
    assert "0 wrong" in done.stdout.splitlines()[-1]
