"""The gateway's keys, and the assertions it signs with them: once per token and service, then from memory.

The keys are a private JWK Set in a file that all replicas share (mode 0600, made when it is
missing). The first signs; all are published, so that a new one can be put at the end, become
known, and be moved to the front.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from portero.adapters.keys.generate import generate_private_key
from portero.core.errors import ConfigurationError
from portero.core.jose.jwk import JwkError, PrivateKey, private_key_from_jwk, private_key_to_jwk
from portero.core.jose.jwk_set import render_jwk_set
from portero.core.jose.jws import sign_compact
from portero.core.policy.principal import Principal
from portero.core.tokens.assertion import ASSERTION_TYP, LONGEST_LIFE, assertion_claims
from portero.core.types import Secret

SETTING = "gateway.keys_file"
"""What errors name."""
_ENTRIES = 60_000
_RENEW_BEFORE = 30
"""Seconds before its end from which an assertion is made anew, so that a service has time to use it."""


class AssertionKeys:
    """The keys of one file."""

    def __init__(self, keys: tuple[PrivateKey, ...], *, mark: tuple[int, int] = (0, 0)) -> None:
        self.keys = keys
        self._mark = mark

    @property
    def signing(self) -> PrivateKey:
        """What signs."""
        return self.keys[0]

    def jwk_set(self) -> bytes:
        """The public keys, as services fetch them."""
        return render_jwk_set([key.public for key in self.keys])

    def differs_from(self, path: Path) -> bool:
        """Whether the file was replaced since it was read. One that is missing changes nothing."""
        try:
            return _mark(path.stat()) != self._mark
        except OSError:
            return False

    @staticmethod
    def open(path: Path) -> AssertionKeys:
        """Read the file; make it first when there is none. Two that start at once end with the same keys.

        Raises:
            ConfigurationError: others may read it, or it is no private JWK Set.
        """
        if not os.path.lexists(path):
            _make(path)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(1 << 20)
        except OSError as error:
            raise ConfigurationError(SETTING, str(path), f"must be readable ({error.strerror})") from None
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(SETTING, str(path), f"must be for its owner alone: chmod 600 {path}")
        try:
            keys = tuple(private_key_from_jwk(Secret(orjson.dumps(jwk))) for jwk in orjson.loads(content)["keys"])
        except (ValueError, KeyError, TypeError, JwkError):
            raise ConfigurationError(SETTING, str(path), "must be a private JWK Set (RFC 7517 §5)") from None
        if not keys:
            raise ConfigurationError(SETTING, str(path), "must hold a key")
        return AssertionKeys(keys, mark=_mark(status))


def _mark(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


@contextlib.contextmanager
def beside(path: Path, content: bytes) -> Iterator[Path]:
    """A whole new file beside another one, for its owner alone, to be put in its place; gone at the end if it is not.

    Its name is nobody else's: what a program left that was killed half-way hinders no later one.

    Raises:
        OSError: it cannot be made.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _make(path: Path) -> None:
    jwk = private_key_to_jwk(generate_private_key("ES256"))
    content = b'{"keys": [' + jwk.reveal() + b"]}\n"
    try:
        with beside(path, content) as unfinished, contextlib.suppress(FileExistsError):
            os.link(unfinished, path)  # the first one wins
    except OSError as error:
        raise ConfigurationError(SETTING, str(path), f"cannot be made ({error.strerror})") from None


class Assertions:
    """Makes and remembers assertions.

    Args:
        keys: what signs.
        issuer: the gateway.
    """

    def __init__(self, keys: AssertionKeys, *, issuer: str) -> None:
        self.keys = keys
        self._issuer = issuer
        # By identity: a Guard hands out one principal per verified token. The entry holds it, so no id is reused.
        self._made: dict[tuple[int, str], tuple[Principal, int, bytes]] = {}

    def header_for(self, principal: Principal, *, audience: str, now: int) -> bytes:
        """The `Authorization` value for a service.

        Args:
            principal: who was admitted to that service; one bound to a key has proven it.
            audience: the service's.
            now: NumericDate.
        """
        key = (id(principal), audience)
        known = self._made.get(key)
        if known is not None and known[0] is principal and now < known[1]:
            return known[2]
        claims = assertion_claims(principal, issuer=self._issuer, audience=audience, now=now)
        header = b"Bearer " + sign_compact({"typ": ASSERTION_TYP}, orjson.dumps(claims), self.keys.signing).encode()
        if len(self._made) >= _ENTRIES:
            self._made.clear()
        # One that ends with its token is good as long as the token is; a shorter one is made anew in time.
        ends_with_token = claims["exp"] == principal.expires_at
        until = now + LONGEST_LIFE if ends_with_token else claims["exp"] - _RENEW_BEFORE
        self._made[key] = (principal, until, header)
        return header
