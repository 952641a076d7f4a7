"""`portero serve` as a process: how it starts, how it stops, what it logs."""

from __future__ import annotations

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.cli.running import CALLBACK, Server, add_people_and_clients, attempt, run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_in_a_clean_stop(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0, and the write-ahead log is folded into the database."""
    with Server(tmp_path) as server:
        assert server.stop(number) == 0

        assert not (tmp_path / "portero.db-wal").exists()


def test_an_open_stream_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """The feed's streams never end by themselves: they are ended, whole, so that their readers resume."""
    with Server(tmp_path, settings='drain_timeout = "1h"\n') as server:
        secret = add_people_and_clients(tmp_path)
        with httpx2.Client(base_url=server.issuer, timeout=30, trust_env=False) as service:
            form = {"grant_type": "client_credentials", "scope": "revocations:read"}
            token = service.post("/token", data=form, auth=("service", secret)).json()["access_token"]
            headers = {"authorization": f"Bearer {token}"}
            cursor = service.get("/revocations/snapshot", headers=headers).json()["cursor"]
            with service.stream("GET", f"/revocations/stream?after={cursor}", headers=headers) as stream:
                assert stream.status_code == 200
                pieces = stream.iter_bytes()
                assert next(pieces)

                assert server.stop() == 0

                for _ in pieces:
                    pass  # to the end of the message: a cut one would raise


def test_a_waiting_long_poll_is_answered_by_a_stop(tmp_path: Path) -> None:
    """With a whole answer and at once: its reader asks elsewhere from the same cursor."""
    settings = 'drain_timeout = "1h"\nmetrics_networks = ["127.0.0.0/8", "::1/128"]\n'
    with Server(tmp_path, settings=settings) as server:
        secret = add_people_and_clients(tmp_path)
        with (
            httpx2.Client(base_url=server.issuer, timeout=25, trust_env=False) as service,
            ThreadPoolExecutor(1) as threads,
        ):
            form = {"grant_type": "client_credentials", "scope": "revocations:read"}
            token = service.post("/token", data=form, auth=("service", secret)).json()["access_token"]
            headers = {"authorization": f"Bearer {token}"}
            cursor = service.get("/revocations/snapshot", headers=headers).json()["cursor"]
            target = f"/revocations?after={cursor}&wait=30"
            polled = threads.submit(service.get, target, headers=headers)
            while "portero_feed_subscribers 1\n" not in service.get("/metrics").text:
                assert not polled.done()

            assert server.stop() == 0

            answer = polled.result()

    assert (answer.status_code, answer.json()["cursor"], answer.json()["entries"]) == (200, cursor, [])


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    """Nothing is made, nothing listens, the message names the setting."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        done = run(tmp_path, "serve", PORTERO_PORT=str(port))

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"authorization_server.port is {port}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_one_clear_line(tmp_path: Path) -> None:
    """Key, value, and what it may be; no trace."""
    (tmp_path / "portero-server.toml").write_text('[authorization_server]\naccess_token_lifetime = "five minutes"\n')

    done = run(tmp_path, "serve")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "authorization_server.access_token_lifetime is 'five minutes'" in done.stderr
    assert '"5m"' in done.stderr


def test_missing_secrets_beside_a_used_database_stop_the_start(tmp_path: Path) -> None:
    """And are not made anew."""
    with Server(tmp_path) as server:
        server.stop()
    (tmp_path / "portero.secrets").unlink()

    done = run(tmp_path, "serve")

    assert done.returncode == 1
    assert "the database is in use" in done.stderr
    assert not (tmp_path / "portero.secrets").exists()


def test_another_databases_secrets_stop_the_start(tmp_path: Path) -> None:
    """A file that opens nothing is found at the start, and not at the first token."""
    other = tmp_path / "other"
    other.mkdir()
    for folder in (tmp_path, other):
        with Server(folder) as server:
            server.stop()
    (tmp_path / "portero.secrets").write_bytes((other / "portero.secrets").read_bytes())

    done = run(tmp_path, "serve")

    assert done.returncode == 1
    assert "authorization_server.secrets_file" in done.stderr
    assert "belongs to this database" in done.stderr


def test_nothing_secret_is_ever_logged(tmp_path: Path) -> None:
    """A whole sign-in, a refresh and nonsense, with the access log on: no token, code, password or query string."""
    with Server(tmp_path, settings="access_log = true\n") as server:
        secret = add_people_and_clients(tmp_path)
        tokens = server.sign_in("ana", "correct horse")
        form = {"grant_type": "refresh_token", "refresh_attempt": attempt(1)}
        successor = server.token(refresh_token=tokens["refresh_token"], **form).json()["refresh_token"]
        with server.browser() as browser:
            browser.get("/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}x"})
            browser.get(f"/authorize?client_id=page&redirect_uri={CALLBACK}&state=very-private")
            browser.get(f"/nothing-here?access_token={tokens['access_token']}")
            browser.post("/token", data={"grant_type": "client_credentials"}, auth=("service", secret + "x"))
        server.stop()
        log = "".join(server.log[1:])

    for hidden in (
        *(tokens[name] for name in ("access_token", "refresh_token", "id_token")),
        successor,
        secret,
        attempt(1),
        "correct horse",
        "very-private",
        "code=",
        "?",
    ):
        assert hidden not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"/token", "/nothing-here"} <= {line.get("path") for line in lines}
    assert "signed_in" in {line["message"] for line in lines}


def test_nonsense_is_answered_and_not_fatal(tmp_path: Path) -> None:
    """Broken HTTP gets a 400, not a trace; the server goes on."""
    with Server(tmp_path) as server:
        assert server.raw(b"NONSENSE\r\n\r\n") == 400
        assert server.raw(b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n") == 400
        assert httpx2.get(f"{server.issuer}/healthz", trust_env=False).status_code == 200

        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)


def test_a_command_beside_a_running_server_is_noticed(tmp_path: Path) -> None:
    """A person that is disabled by a command is signed out of the server that runs."""
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        tokens = server.sign_in("ana", "correct horse")

        assert run(tmp_path, "user", "disable", "ana").returncode == 0

        refused = server.token(
            grant_type="refresh_token", refresh_token=tokens["refresh_token"], refresh_attempt=attempt(1)
        )
        assert refused.json()["error"] == "invalid_grant"
