"""The secrets that live outside the database: one JSON file, mode 0600.

It holds three sets of 32-byte keys, each rotated by a one-byte id:

- `tag_keys` authenticate refresh tokens (design §3.2). Without them every refresh token ever issued is invalid.
- `key_encryption_keys` seal the private signing keys in the database. Without them no token can be signed.
- `purpose_roots` give, by HKDF (RFC 5869), one key per purpose: CSRF tokens, DPoP nonces. Nothing lasting
  depends on them.

So a dump of the database forges and opens nothing. The file is made only for a database that has
no signing key yet: a missing file beside a used database is a mistake to report, and never to
paper over with new keys that open nothing.

Not checked here: that the keys open what is in the database (the key ring does).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from portero.core.errors import ConfigurationError
from portero.core.types import Secret
from portero.ports import Random

SETTING = "authorization_server.secrets_file"
KEY_BYTES = 32
_FORMAT = 1


class SecretKind(Enum):
    """Which set of keys, by its name in the file."""

    TAG = "tag_keys"
    KEY_ENCRYPTION = "key_encryption_keys"
    PURPOSE = "purpose_roots"


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """Keys by id (1 to 255); `current` is the one that new work uses, the others still open old work."""

    current: int
    keys: Mapping[int, Secret[bytes]] = field(repr=False)

    def get(self, key_id: int) -> Secret[bytes] | None:
        """The key with this id, or `None`: then what names it is not ours."""
        return self.keys.get(key_id)

    @property
    def current_key(self) -> Secret[bytes]:
        """The key that new work uses."""
        return self.keys[self.current]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The file's content."""

    tag_keys: SecretKeys
    key_encryption_keys: SecretKeys
    purpose_roots: SecretKeys

    def purpose_key(self, purpose: str) -> Secret[bytes]:
        """Derive the 32-byte key of one purpose, such as `"csrf"`: the same for all replicas, no other purpose's."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = b"portero/" + purpose.encode()
        root = self.purpose_roots.current_key.reveal()
        return Secret(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(root))


def make_secrets(*, random: Random) -> Secrets:
    """Make new keys, each set with the id 1. For `memory:` databases as they are; see `open_secrets` for files."""
    first, second, third = (SecretKeys(1, _sealed({1: Secret(random.bytes(KEY_BYTES))})) for _ in range(3))
    return Secrets(first, second, third)


def open_secrets(path: Path, *, database_is_new: bool, random: Random) -> Secrets:
    """Read the file; make it first when the database is new and there is none.

    Two processes that start at once end with the same file.

    Args:
        path: the file.
        database_is_new: no signing key was ever stored, so nothing depends on lost keys.
        random: where new keys come from.

    Raises:
        ConfigurationError: missing beside a used database; readable by others; not our format.
    """
    if not os.path.lexists(path):
        if not database_is_new:
            raise ConfigurationError(SETTING, str(path), _MISSING)
        _create(path, make_secrets(random=random))
    return read_secrets(path)


_MISSING = (
    "the file does not exist, but the database is in use: its signing keys and refresh tokens depend on the keys in "
    "that file, so it is not made anew. Put the file back from its backup, or point the setting to where it is. If it "
    "is lost for good, start with a new database"
)


def read_secrets(path: Path) -> Secrets:
    """Read the file, refusing one that others may read.

    Raises:
        ConfigurationError: see `open_secrets`.
    """
    try:
        # Not through a symbolic link: whoever may place one would choose our keys.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(SETTING, str(path), f"it must be a readable file ({error.strerror})") from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigurationError(SETTING, str(path), "it must be a regular file")
        if about.st_mode & 0o077:
            mode = stat.S_IMODE(about.st_mode)
            expected = f"its mode is {mode:04o}, so others can read or write the keys; run: chmod 600 {path}"
            raise ConfigurationError(SETTING, str(path), expected)
        return _parse(path, os.read(descriptor, 1 << 20))
    finally:
        os.close(descriptor)


def rotate_secret(path: Path, kind: SecretKind, *, random: Random) -> int:
    """Add a new key to one set and make it the current one; the old ones stay, to open what they closed.

    A server that runs reads the file at its next start.

    Returns:
        The new key's id.

    Raises:
        ConfigurationError: the file cannot be read, or all 255 ids are used.
    """
    import fcntl

    # The folder's lock: the file itself is replaced, so a lock on it would guard the wrong one.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        secrets = read_secrets(path)
        keys: dict[SecretKind, SecretKeys] = {each: getattr(secrets, each.value) for each in SecretKind}
        new_id = max(keys[kind].keys) + 1
        if new_id > 255:
            raise ConfigurationError(SETTING, str(path), f"all 255 ids of {kind.value} are used")
        more = {**keys[kind].keys, new_id: Secret(random.bytes(KEY_BYTES))}
        keys[kind] = SecretKeys(new_id, _sealed(more))
        rotated = Secrets(keys[SecretKind.TAG], keys[SecretKind.KEY_ENCRYPTION], keys[SecretKind.PURPOSE])
        draft = _write_draft(path, rotated)
        draft.replace(path)
        os.fsync(folder)
    finally:
        os.close(folder)
    return new_id


def _create(path: Path, secrets: Secrets) -> None:
    try:
        draft = _write_draft(path, secrets)
    except OSError as error:
        expected = f"a file in a folder this process may write to ({error.strerror})"
        raise ConfigurationError(SETTING, str(path), expected) from error
    try:
        # link(2) never replaces: of two processes one wins, and both read the winner's file.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_draft(path: Path, secrets: Secrets) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_render(secrets))
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sealed(keys: dict[int, Secret[bytes]]) -> Mapping[int, Secret[bytes]]:
    return MappingProxyType(keys)


def _render(secrets: Secrets) -> bytes:
    document: dict[str, Any] = {"format": _FORMAT}
    for kind in SecretKind:
        keys: SecretKeys = getattr(secrets, kind.value)
        texts = {str(key_id): key.reveal().hex() for key_id, key in sorted(keys.keys.items())}
        document[kind.value] = {"current": keys.current, "keys": texts}
    return json.dumps(document, indent=2).encode() + b"\n"


def _parse(path: Path, data: bytes) -> Secrets:
    # The cause is dropped on purpose: it may quote the file.
    try:
        document = json.loads(data)
        if document["format"] != _FORMAT:
            raise ConfigurationError(SETTING, str(path), f"it must be a secrets file of format {_FORMAT}")
        sets = [_parse_keys(document[kind.value]) for kind in SecretKind]
    except (ValueError, KeyError, TypeError, AttributeError):
        expected = "it must be the JSON file that Portero wrote; put it back from its backup"
        raise ConfigurationError(SETTING, str(path), expected) from None
    return Secrets(*sets)


def _parse_keys(value: Any) -> SecretKeys:
    current = value["current"]
    keys = {int(key_id): Secret(bytes.fromhex(text)) for key_id, text in value["keys"].items()}
    for key_id, key in keys.items():
        if not 1 <= key_id <= 255 or len(key.reveal()) != KEY_BYTES:
            raise ValueError("a key id is 1 to 255, a key has 32 bytes")
    if type(current) is not int or current not in keys:
        raise ValueError("the current key is one of the keys")
    return SecretKeys(current, _sealed(keys))
