"""The commands of an operator, as they are typed."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import CALLBACK, Server, add_people_and_clients, run

PAGE = ("client", "add", "page", "--public", "--redirect-uri", CALLBACK)


def listed(folder: Path, *command: str) -> Any:
    done = run(folder, *command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_version_is_told_without_loading_anything(tmp_path: Path) -> None:
    """Not even the parser of command lines."""
    program = (
        "import sys; sys.argv = ['portero', '--version']; from portero.cli import main; main();"
        "sys.exit('click' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert re.fullmatch(r"portero \d+\.\d+\.\d+\n", done.stdout)


def test_help_names_every_command_and_loads_none() -> None:
    """The first page costs no import of a command, a store or a server."""
    program = (
        "import sys; from portero.cli.program import run; code = run(['--help']);"
        "sys.exit(code or any(name in sys.modules for name in"
        " ('portero.cli.users', 'portero.cli.serve', 'sqlite3', 'starlette', 'uvicorn', 'cryptography')))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    for name in ("serve", "demo", "user", "client", "sessions", "feed", "keys", "doctor"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("demo",),
        ("doctor",),
        *(("user", name) for name in ("add", "list", "passwd", "disable", "enable")),
        *(("client", name) for name in ("add", "list", "disable", "enable")),
        *(("sessions", name) for name in ("list", "end")),
        *(("keys", name) for name in ("list", "rotate")),
    ],
)
def test_every_command_explains_itself(tmp_path: Path, command: tuple[str, ...]) -> None:
    """--help anywhere, exit code 0, and it makes nothing."""
    done = run(tmp_path, *command, "--help")

    assert done.returncode == 0
    assert "--help" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("nonsense",),
        ("user", "nonsense"),
        ("user", "add"),
        ("client", "add", "x", "--public", "--auth-method", "client_secret_post"),
        ("client", "add", "x", "--auth-method", "private_key_jwt"),
        ("sessions", "end"),
        ("sessions", "end", "sid", "--user", "ana"),
        ("keys", "rotate", "--emergency", "kid", "--secrets", "tag"),
        ("user", "add", "ana"),
    ],
)
def test_what_is_not_understood_is_usage(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 2, no trace, nothing made. (The last: no terminal, and no --password-stdin.)"""
    done = run(tmp_path, *command)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [("user", "list"), ("client", "list"), ("sessions", "list"), ("keys", "list"), ("user", "disable", "x")]
)
def test_without_a_database_there_is_nothing_to_look_at(tmp_path: Path, command: tuple[str, ...]) -> None:
    """An empty list from the wrong folder would be worse than an error; no database is made."""
    done = run(tmp_path, *command)

    assert done.returncode == 1
    assert f"no database at {tmp_path}/portero.db" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_added_once(tmp_path: Path) -> None:
    """Whatever the case of the letters; the password is nowhere in the answer or the file in plain."""
    added = run(tmp_path, "user", "add", "Ana", "--password-stdin", "--role", "manager", stdin="correct horse\n")
    again = run(tmp_path, "user", "add", "aNA", "--password-stdin", stdin="correct horse\n")

    assert added.returncode == 0, added.stderr
    assert again.returncode == 1
    assert "already" in again.stderr
    users = listed(tmp_path, "user", "list")
    assert [(user["username"], user["roles"], user["enabled"]) for user in users] == [("Ana", ["manager"], True)]
    assert "correct" not in added.stdout + added.stderr
    assert stat.S_IMODE((tmp_path / "portero.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("password", "code"), [("seven77", 1), ("eight888", 0), ("x" * 1024, 0), ("x" * 1025, 1), ("", 1)]
)
def test_a_password_has_a_shortest_and_a_longest_length(tmp_path: Path, password: str, code: int) -> None:
    """Both sides of both limits."""
    assert run(tmp_path, "user", "add", "ana", "--password-stdin", stdin=f"{password}\n").returncode == code


def test_there_is_no_way_to_give_a_password_on_the_command_line(tmp_path: Path) -> None:
    """Other programs of the machine can read that."""
    assert run(tmp_path, "user", "add", "ana", "--password", "correct horse").returncode == 2


def test_a_secret_is_shown_once_and_never_again(tmp_path: Path) -> None:
    """256 bits, made by us; the database has its digest only."""
    added = run(tmp_path, "client", "add", "orders", "--scope", "revocations:read")

    secret = re.findall(r"client secret, shown this once: ([\w-]{43})\n", added.stdout)[0]
    assert secret not in run(tmp_path, "client", "list", "--json").stdout
    assert secret.encode() not in (tmp_path / "portero.db").read_bytes()
    client = listed(tmp_path, "client", "list")[0]
    assert client["type"] == "confidential"
    assert client["grant_types"] == ["client_credentials"]


def test_a_public_client_has_no_secret(tmp_path: Path) -> None:
    """It could not keep one; PKCE and attempts are its defaults."""
    done = run(tmp_path, *PAGE, "--json")

    assert json.loads(done.stdout) == {"client_id": "page", "client_secret": None}
    client = listed(tmp_path, "client", "list")[0]
    assert client["token_endpoint_auth_method"] == "none"
    assert client["require_pkce"] is True
    assert client["refresh_profile"] == "attempt"
    assert client["grant_types"] == ["authorization_code", "refresh_token"]


def test_a_client_is_added_once(tmp_path: Path) -> None:
    """A second one of the same name would take over the first."""
    assert run(tmp_path, *PAGE).returncode == 0
    assert run(tmp_path, *PAGE).returncode == 1


def test_the_plain_profile_says_what_it_costs(tmp_path: Path) -> None:
    """Whoever chooses it reads it."""
    assert "7 % to 100 %" in run(tmp_path, *PAGE, "--profile", "plain").stderr


def test_an_unsafe_client_is_refused_in_one_line(tmp_path: Path) -> None:
    """The setting, its value, and what it may be (what is unsafe: tests/core/test_registration.py)."""
    done = run(tmp_path, *PAGE, "--rotation", "near_end")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("portero: clients.page.rotation is 'near_end': ")
    assert listed(tmp_path, "client", "list") == []


def test_a_private_key_is_no_part_of_a_registration(tmp_path: Path) -> None:
    """A JWK Set with a private member is refused, and not stored."""
    (tmp_path / "keys.json").write_text('{"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "d"}]}')

    done = run(tmp_path, "client", "add", "svc", "--auth-method", "private_key_jwt", "--jwks", "keys.json")

    assert done.returncode == 1
    assert "no private one" in done.stderr


def test_a_disabled_client_gets_nothing_and_an_enabled_one_again(tmp_path: Path) -> None:
    """At the server that runs, within the second its memory of clients lasts."""
    assert run(tmp_path, *PAGE).returncode == 0

    assert run(tmp_path, "client", "disable", "page").returncode == 0
    assert listed(tmp_path, "client", "list")[0]["enabled"] is False
    assert run(tmp_path, "client", "enable", "page").returncode == 0
    assert listed(tmp_path, "client", "list")[0]["enabled"] is True
    assert run(tmp_path, "client", "disable", "nobody").returncode == 1


def test_direct_sign_in_is_for_clients_of_the_house(tmp_path: Path) -> None:
    """Off unless said, and switched at any time."""
    assert run(tmp_path, *PAGE).returncode == 0
    assert run(tmp_path, "client", "add", "app", *PAGE[3:], "--first-party").returncode == 0

    refused = run(tmp_path, "client", "direct-sign-in", "page", "on")
    assert "clients.page.direct_sign_in is True" in refused.stderr
    for switch in ("on", "off"):
        assert run(tmp_path, "client", "direct-sign-in", "app", switch).returncode == 0
        clients = {each["client_id"]: each["direct_sign_in"] for each in listed(tmp_path, "client", "list")}
        assert clients == {"app": switch == "on", "page": False}
    assert run(tmp_path, "client", "direct-sign-in", "nobody", "on").returncode == 1


def test_sessions_are_listed_and_ended_by_name_or_by_person(tmp_path: Path) -> None:
    """One device, or everywhere."""
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        for _ in range(3):
            server.sign_in("ana", "correct horse")
        sids = [session["sid"] for session in listed(tmp_path, "sessions", "list")]
        assert len(sids) == 3

        assert run(tmp_path, "sessions", "end", sids[0]).returncode == 0
        assert sids[0] not in {session["sid"] for session in listed(tmp_path, "sessions", "list", "--user", "ana")}
        assert run(tmp_path, "sessions", "end", "--user", "ana").stdout.count("ended ") == 2
        assert listed(tmp_path, "sessions", "list") == []
        assert run(tmp_path, "sessions", "end", sids[0]).returncode == 1
        assert run(tmp_path, "sessions", "end", "--user", "nobody").returncode == 1


def test_a_new_password_ends_what_the_old_one_opened(tmp_path: Path) -> None:
    """And is the only one that opens from then on."""
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        server.sign_in("ana", "correct horse")

        assert run(tmp_path, "user", "passwd", "ana", "--password-stdin", stdin="battery staple\n").returncode == 0

        assert listed(tmp_path, "sessions", "list") == []
        with pytest.raises(AssertionError):
            server.sign_in("ana", "correct horse")
        server.sign_in("ana", "battery staple")


def test_a_rotated_key_is_published_before_it_signs(tmp_path: Path) -> None:
    """A second rotation changes nothing while one is under way."""
    with Server(tmp_path) as server:
        server.stop()
    assert run(tmp_path, "keys", "rotate").returncode == 0
    assert run(tmp_path, "keys", "rotate").returncode == 0

    keys = listed(tmp_path, "keys", "list")

    assert [key["status"] for key in keys] == ["signing", "published"]
    assert keys[1]["signs_from"] > keys[1]["created"]


def test_an_emergency_removes_a_key_at_once(tmp_path: Path) -> None:
    """Another signs in its place, and the server starts with it."""
    with Server(tmp_path) as server:
        kid = listed(tmp_path, "keys", "list")[0]["kid"]

        assert run(tmp_path, "keys", "rotate", "--emergency", kid).returncode == 0

        keys = listed(tmp_path, "keys", "list")
        assert kid not in {key["kid"] for key in keys}
        assert [key["status"] for key in keys] == ["signing"]
        server.stop()
        server.start()
    assert run(tmp_path, "keys", "rotate", "--emergency", "nonsense").returncode == 1


def test_a_rotated_secret_still_opens_what_the_old_one_closed(tmp_path: Path) -> None:
    """All three sets, and the server starts and refreshes with them."""
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        tokens = server.sign_in("ana", "correct horse")
        for kind in ("tag", "key-encryption", "purpose"):
            assert "id 2" in run(tmp_path, "keys", "rotate", "--secrets", kind).stdout

        server.stop()
        server.start()

        refreshed = server.token(
            grant_type="refresh_token", refresh_token=tokens["refresh_token"], refresh_attempt="A" * 22
        )
        assert refreshed.status_code == 200, refreshed.text


def test_an_unknown_name_is_one_clear_line(tmp_path: Path) -> None:
    """Exit code 1, what is missing, no trace."""
    assert run(tmp_path, *PAGE).returncode == 0
    for command in (
        ("user", "disable", "nobody"),
        ("user", "enable", "nobody"),
        ("client", "enable", "nobody"),
        ("sessions", "end", "-Yc-nobody"),
    ):
        done = run(tmp_path, *command)

        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "nobody" in done.stderr
