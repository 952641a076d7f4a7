"""The secrets file: made once, for a new database only, for nobody else's eyes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from portero.adapters.keys.secrets_file import (
    SecretKind,
    _create,
    make_secrets,
    open_secrets,
    read_secrets,
    rotate_secret,
)
from portero.adapters.system import SystemRandom
from portero.core.errors import ConfigurationError

RANDOM = SystemRandom()


def made(folder: Path) -> Path:
    path = folder / "portero.secrets"
    open_secrets(path, database_is_new=True, random=RANDOM)
    return path


def test_a_new_database_gets_a_file_only_its_owner_can_read(tmp_path: Path) -> None:
    """Mode 0600, whatever the umask would allow."""
    before = os.umask(0)
    try:
        path = made(tmp_path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_the_file_gives_back_the_keys_it_was_given(tmp_path: Path) -> None:
    """A restart opens what was sealed before it."""
    path = tmp_path / "portero.secrets"
    first = open_secrets(path, database_is_new=True, random=RANDOM)

    second = open_secrets(path, database_is_new=False, random=RANDOM)

    for one, two in zip(
        (first.tag_keys, first.key_encryption_keys, first.purpose_roots),
        (second.tag_keys, second.key_encryption_keys, second.purpose_roots),
        strict=True,
    ):
        assert one.current == two.current == 1
        assert one.current_key.matches(two.current_key)


def test_the_three_sets_have_keys_of_their_own() -> None:
    """A key that leaks from one use opens no other."""
    secrets = make_secrets(random=RANDOM)

    keys = {
        each.current_key.reveal() for each in (secrets.tag_keys, secrets.key_encryption_keys, secrets.purpose_roots)
    }
    assert len(keys) == 3


def test_a_missing_file_beside_a_used_database_stops_the_start(tmp_path: Path) -> None:
    """New keys would open nothing, and hide that the old ones are gone."""
    path = tmp_path / "portero.secrets"

    with pytest.raises(ConfigurationError, match="the database is in use") as refusal:
        open_secrets(path, database_is_new=False, random=RANDOM)

    assert refusal.value.setting == "authorization_server.secrets_file"
    assert not path.exists()


def test_an_existing_file_is_used_for_a_new_database(tmp_path: Path) -> None:
    """Never overwritten: it may belong to a database that is elsewhere for the moment."""
    path = made(tmp_path)
    content = path.read_bytes()

    open_secrets(path, database_is_new=True, random=RANDOM)

    assert content == path.read_bytes()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o620])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Readable by others: leaked. Writable by others: not ours."""
    path = made(tmp_path)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        read_secrets(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    """The other side: also where a credential store hands it over read-only."""
    path = made(tmp_path)
    path.chmod(mode)

    assert read_secrets(path).tag_keys.current == 1


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """Whoever may place a link would choose our keys."""
    path = made(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(path)

    with pytest.raises(ConfigurationError):
        read_secrets(link)


def test_a_dangling_link_is_not_followed_to_make_a_file(tmp_path: Path) -> None:
    """The same, where the file would be made."""
    target, link = tmp_path / "elsewhere", tmp_path / "link"
    link.symlink_to(target)

    with pytest.raises(ConfigurationError):
        open_secrets(link, database_is_new=True, random=RANDOM)

    assert not target.exists()


def test_a_folder_is_no_secrets_file(tmp_path: Path) -> None:
    """Refused with a message, not with a trace."""
    with pytest.raises(ConfigurationError, match="a regular file"):
        read_secrets(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The start says where it could not write."""
    with pytest.raises(ConfigurationError, match="a folder this process may write to"):
        open_secrets(tmp_path / "none" / "portero.secrets", database_is_new=True, random=RANDOM)


def broken(document: dict[str, object]) -> list[tuple[str, object]]:
    return [
        ("no object", []),
        ("another format", {**document, "format": 2}),
        ("a set is missing", {key: value for key, value in document.items() if key != "tag_keys"}),
        ("a short key", {**document, "tag_keys": {"current": 1, "keys": {"1": "00" * 31}}}),
        ("no hex", {**document, "tag_keys": {"current": 1, "keys": {"1": "x" * 64}}}),
        ("id 0", {**document, "tag_keys": {"current": 0, "keys": {"0": "00" * 32}}}),
        ("id 256", {**document, "tag_keys": {"current": 256, "keys": {"256": "00" * 32}}}),
        ("current is none of them", {**document, "tag_keys": {"current": 2, "keys": {"1": "00" * 32}}}),
        ("current is no number", {**document, "tag_keys": {"current": True, "keys": {"1": "00" * 32}}}),
    ]


@pytest.mark.parametrize("number", range(9))
def test_a_damaged_file_is_refused_without_quoting_it(tmp_path: Path, number: int) -> None:
    """Each way of damage is found, and no key is in the message or its cause."""
    path = made(tmp_path)
    document = json.loads(path.read_text())
    key = document["key_encryption_keys"]["keys"]["1"]
    name, content = broken(document)[number]
    path.write_text(json.dumps(content))

    with pytest.raises(ConfigurationError) as refusal:
        read_secrets(path)

    assert key not in str(refusal.value), name
    assert refusal.value.__cause__ is None


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    """Half a JSON document is none."""
    path = made(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(ConfigurationError):
        read_secrets(path)


def test_two_first_starts_end_with_one_file(tmp_path: Path) -> None:
    """Both saw that there was none; whoever comes second leaves the first one's file as it is, and uses it."""
    path = made(tmp_path)
    first = read_secrets(path)

    _create(path, make_secrets(random=RANDOM))

    assert first.tag_keys.current_key.matches(read_secrets(path).tag_keys.current_key)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", list(SecretKind))
def test_rotation_adds_a_key_and_keeps_the_old_ones(tmp_path: Path, kind: SecretKind) -> None:
    """New work uses the new id; what the old one closed still opens; the other sets are untouched."""
    path = made(tmp_path)
    before = read_secrets(path)

    new_id = rotate_secret(path, kind, random=RANDOM)

    after = read_secrets(path)
    assert new_id == 2
    for each in SecretKind:
        old, new = getattr(before, each.value), getattr(after, each.value)
        assert new.current == (2 if each is kind else 1)
        assert new.get(1).matches(old.get(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_an_unknown_id_names_no_key(tmp_path: Path) -> None:
    """A token of an id we never gave is not ours."""
    assert read_secrets(made(tmp_path)).tag_keys.get(2) is None


def test_ids_end_at_one_byte(tmp_path: Path) -> None:
    """The id is one byte of every refresh token: the 256th key is refused, the 255th is not."""
    path = made(tmp_path)
    document = json.loads(path.read_text())
    document["tag_keys"]["keys"]["254"] = "11" * 32
    path.write_text(json.dumps(document))
    assert rotate_secret(path, SecretKind.TAG, random=RANDOM) == 255

    with pytest.raises(ConfigurationError, match="255"):
        rotate_secret(path, SecretKind.TAG, random=RANDOM)


def test_each_purpose_has_its_own_key_and_always_the_same() -> None:
    """Replicas that share the file agree; a key of one purpose says nothing of another's."""
    secrets = make_secrets(random=RANDOM)

    assert secrets.purpose_key("csrf").matches(secrets.purpose_key("csrf"))
    assert not secrets.purpose_key("csrf").matches(secrets.purpose_key("dpop-nonce"))
    assert not secrets.purpose_key("csrf").matches(secrets.purpose_roots.current_key)
    assert len(secrets.purpose_key("csrf").reveal()) == 32


def test_no_key_is_ever_printed() -> None:
    """Not in a repr either."""
    secrets = make_secrets(random=RANDOM)

    assert secrets.tag_keys.current_key.reveal().hex() not in repr(secrets)
    assert "current=1" in repr(secrets)
