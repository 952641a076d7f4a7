"""A backup comes back, and what was taken back since stays taken back: `portero restore` and its page."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portero.core.jose.jws import unverified_payload
from portero.core.transitions import Decision, Put, SessionAggregate, SessionKey
from portero.core.types import NumericDate, Sid
from portero.testing.postgresql import running_postgres
from tests.cli.running import run
from tests.races.fleet import BACKEND, PAGE, SECRET, Fleet, attempt, refresh_form

HOW_TO = Path(__file__).parents[2] / "docs/how-to/restore.md"


def refreshed(fleet: Fleet, tokens: dict[str, Any], *, client: Any = PAGE) -> httpx2.Response:
    form = refresh_form(tokens["refresh_token"], attempt=attempt() if client is PAGE else None, client=client)
    return fleet.post("/token", form)


def revoked(fleet: Fleet, tokens: dict[str, Any]) -> None:
    form = {"token": tokens["refresh_token"], "client_id": PAGE.client_id}
    assert fleet.post("/revoke", form).status_code == 200


def outcome(answer: httpx2.Response) -> str:
    return "served" if answer.status_code == 200 else str(answer.json().get("error_reason"))


def snapshot(fleet: Fleet) -> dict[str, Any]:
    form = {"grant_type": "client_credentials", "scope": "revocations:read", "client_id": "service"}
    token = fleet.post("/token", {**form, "client_secret": SECRET}).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx2.get(f"{fleet.servers[0].url}/revocations/snapshot", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def restore(fleet: Fleet, *arguments: str) -> Any:
    return run(fleet.folder, "restore", "--config", "server-0.toml", *arguments)


def back_up(folder: Path) -> None:
    with sqlite3.connect(folder / "portero.db") as connection:
        connection.execute("VACUUM INTO ?", (str(folder / "backup.db"),))
    connection.close()


def put_back(folder: Path) -> None:
    for name in ("portero.db-wal", "portero.db-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "backup.db").rename(folder / "portero.db")


class Story:
    """Devices before and after a backup, which is then put back; nothing is declared yet."""

    def __init__(self, fleet: Fleet) -> None:
        self.ended, self.signed_out, self.idle, self.kept, self.rotated = fleet.signed_in(5)
        (self.backend,) = fleet.signed_in(client=BACKEND)
        self._let_access_tokens_expire(fleet, self.idle)
        back_up(fleet.folder)
        self.before = snapshot(fleet)
        (self.unknown,) = fleet.signed_in()
        self.ended = refreshed(fleet, self.ended).json()
        for tokens in (self.ended, self.signed_out, self.idle, self.unknown):
            revoked(fleet, tokens)
        self.rotated = refreshed(fleet, self.rotated).json()
        for _ in range(3):
            self.backend = refreshed(fleet, self.backend, client=BACKEND).json()
        fleet.kill()
        put_back(fleet.folder)

    @staticmethod
    def _let_access_tokens_expire(fleet: Fleet, tokens: dict[str, Any]) -> None:
        sid = Sid(json.loads(unverified_payload(tokens["access_token"]))["sid"])

        def decide(found: SessionAggregate) -> Decision[None]:
            assert found.session is not None
            return Decision(None, (Put(replace(found.session, last_access_exp=NumericDate(1))),))

        fleet.at_store(lambda store: store.transition(SessionKey(sid), decide, now=NumericDate(1)))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Story]:
    """The story, told once: the folder it leaves, and its devices."""
    folder = tmp_path_factory.mktemp("story")
    with Fleet(folder, size=1) as fleet:
        return folder, Story(fleet)


@pytest.fixture
def story(told: tuple[Path, Story]) -> Story:
    """The devices."""
    return told[1]


@pytest.fixture
def fleet(told: tuple[Path, Story], tmp_path: Path) -> Iterator[Fleet]:
    """A server, not started, on a copy of what the story left."""
    shutil.copytree(told[0], tmp_path, dirs_exist_ok=True)
    server = Fleet(tmp_path, size=1)
    yield server
    server.kill()


def test_a_backup_alone_brings_ended_sessions_back(story: Story, fleet: Fleet) -> None:
    """Why the command exists: without it, a device that was signed out is signed in again."""
    fleet.start()

    assert outcome(refreshed(fleet, story.signed_out)) == "served"


def test_a_replay_ends_again_what_was_ended_since_the_backup(story: Story, fleet: Fleet) -> None:
    """Sessions and feed; who was not ended goes on; and a bound client's newer generation is accepted."""
    done = restore(fleet, "--replay")
    fleet.start()
    after = snapshot(fleet)
    names = ("ended", "signed_out", "idle", "unknown", "kept")
    outcomes = {name: outcome(refreshed(fleet, getattr(story, name))) for name in names}
    bound = [refreshed(fleet, story.backend, client=BACKEND)]
    bound.append(refreshed(fleet, bound[0].json(), client=BACKEND))

    assert done.returncode == 0, done.stderr
    assert "sessions ended again: 3" in done.stdout
    assert outcomes == dict(zip(names, ("revoked", "revoked", "revoked", "expired", "served"), strict=True))
    assert [outcome(answer) for answer in bound] == ["served", "served"]
    assert after["cursor"].partition(":")[0] != story.before["cursor"].partition(":")[0]
    assert len({entry["what"]["sid"] for entry in after["entries"]}) == 3  # nothing of `idle` is accepted any more


def test_an_unbound_client_with_a_newer_generation_signs_in_again(story: Story, fleet: Fleet) -> None:
    """Profile B: a generation ahead proves nothing; nobody's session is ended for it."""
    restore(fleet, "--replay")
    fleet.start()

    assert outcome(refreshed(fleet, story.rotated)) == "revoked"


def test_a_restore_that_is_run_again_changes_no_more(story: Story, fleet: Fleet) -> None:
    """It was interrupted, or nobody remembers: the same sessions are over, and the feed tells of each once."""
    restore(fleet, "--replay")
    again = restore(fleet, "--replay")
    fleet.start()
    entries = [entry["what"]["sid"] for entry in snapshot(fleet)["entries"]]

    assert "sessions ended again: 0" in again.stdout
    assert len(entries) == len(set(entries)) == 3


def test_end_all_leaves_nobody_signed_in(story: Story, fleet: Fleet) -> None:
    """Every device signs in anew, bound or not, and followers are told of every session of the backup."""
    done = restore(fleet, "--end-all")
    fleet.start()
    outcomes = {outcome(refreshed(fleet, getattr(story, name))) for name in ("ended", "signed_out", "kept")}

    assert "sessions ended: 6" in done.stdout
    assert outcomes == {"revoked"}
    assert outcome(refreshed(fleet, story.backend, client=BACKEND)) == "revoked"
    assert len(snapshot(fleet)["entries"]) == 6


def test_a_restore_that_is_only_declared_ends_nothing(story: Story, fleet: Fleet) -> None:
    """A failover to a copy that is a few generations behind: bound clients go on."""
    restore(fleet, "--declare")
    fleet.start()

    assert outcome(refreshed(fleet, story.backend, client=BACKEND)) == "served"
    assert outcome(refreshed(fleet, story.kept)) == "served"


def test_without_a_declared_restore_a_generation_ahead_is_refused(story: Story, fleet: Fleet) -> None:
    """For profile A as well: it may be a forger with the tag key."""
    fleet.start()

    assert outcome(refreshed(fleet, story.backend, client=BACKEND)) == "revoked"


def test_what_is_meant_has_to_be_said(fleet: Fleet) -> None:
    """Without a terminal to ask at, nothing is guessed."""
    done = restore(fleet)

    assert done.returncode == 2
    assert "say which" in done.stderr


def test_a_replay_without_its_file_says_what_is_safe(fleet: Fleet) -> None:
    """One line, and the database is as it was."""
    (fleet.folder / "portero.db.revocations").unlink()
    done = restore(fleet, "--replay")

    assert done.returncode == 1
    assert "else use --end-all" in done.stderr


def test_a_file_that_does_not_reach_back_to_the_backup_is_no_replay(fleet: Fleet) -> None:
    """It was cut twice since: some ends are in neither part."""
    path = fleet.folder / "portero.db.revocations"
    path.with_name(path.name + ".1").write_bytes(b"")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[-1])
    done = restore(fleet, "--replay")

    assert done.returncode == 1
    assert "only --end-all is safe" in done.stderr


def test_on_postgresql_everything_is_ended(tmp_path: Path) -> None:
    """There is no revocations file: `--replay` says so, `--end-all` works."""
    with running_postgres() as postgres, Fleet(tmp_path, postgres.create_database("restored"), size=1) as fleet:
        (tokens,) = fleet.signed_in()
        fleet.kill()
        replay, done = restore(fleet, "--replay"), restore(fleet, "--end-all")
        fleet.start()
        refused = refreshed(fleet, tokens)

    assert "PostgreSQL keeps no revocations file" in replay.stderr
    assert "sessions ended: 1" in done.stdout
    assert outcome(refused) == "revoked"


def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    """docs/how-to/restore.md: a `sh` block after the other, as they stand (a service is started by its own means)."""
    blocks = re.findall(r"```sh\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    with Fleet(tmp_path, size=1) as fleet:
        (tokens,) = fleet.signed_in()
        revoked(fleet, tokens)
    (tmp_path / "server-0.toml").rename(tmp_path / "portero-server.toml")

    for command in commands:
        if command[0] == "portero":
            done = run(tmp_path, *command[1:])
        else:
            program = sys.executable if command[0] == "python" else command[0]
            done = subprocess.run([program, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)

    assert ["portero", "restore", "--replay"] in commands
    assert ["portero", "restore", "--end-all"] in commands
