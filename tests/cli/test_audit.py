"""`portero audit`: the trail an operator reads."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.running import CALLBACK, run


def names(folder: Path, *options: str) -> list[str]:
    done = run(folder, "audit", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [row["event"] for row in json.loads(done.stdout)]


def test_the_trail_is_read_newest_first_and_for_one_person(tmp_path: Path) -> None:
    """Every row has its time, name, whom it is about, and its fields."""
    for arguments in (
        ("user", "add", "ana", "--password-stdin"),
        ("user", "add", "bruno", "--password-stdin"),
        ("client", "add", "page", "--public", "--redirect-uri", CALLBACK),
        ("user", "disable", "ana"),
    ):
        done = run(tmp_path, *arguments, stdin="correct horse battery\n")
        assert done.returncode == 0, done.stderr
    table = run(tmp_path, "audit")
    row = json.loads(run(tmp_path, "audit", "--json", "--limit", "1").stdout)[0]

    assert names(tmp_path) == ["user_changed", "client_changed", "user_changed", "user_changed"]
    assert names(tmp_path, "--user", "ana") == ["user_changed", "user_changed"]
    assert names(tmp_path, "--user", "bruno") == ["user_changed"]
    assert row.keys() == {"at", "event", "subject", "client_id", "sid", "fields"}
    assert row["fields"] == {"enabled": "false"}
    assert "enabled=false" in table.stdout.splitlines()[1]


def test_a_trail_of_nobody_is_an_error(tmp_path: Path) -> None:
    """A misspelt name is not an empty trail."""
    run(tmp_path, "user", "add", "ana", "--password-stdin", stdin="correct horse battery\n")
    done = run(tmp_path, "audit", "--user", "anna")

    assert done.returncode == 1
    assert "there is no user 'anna'" in done.stderr
