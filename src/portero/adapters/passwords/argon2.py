"""Passwords with argon2id (RFC 9106), by argon2-cffi, behind a bound on concurrent work.

Parameters: 19 MiB, two passes, one lane: OWASP's password storage cheat sheet, first
recommended set. One check costs some tens of milliseconds of one core, so it runs in threads (the
library lets go of the interpreter lock), at most as many at a time as there are cores: sign-ins
wait for each other, while token requests go on. When too many wait, the answer is 503 and not a
queue without end.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from portero.core.errors import Unavailable
from portero.core.types import Secret

if TYPE_CHECKING:
    import argon2

T = TypeVar("T")

MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
LONGEST_PASSWORD = 1024
"""Bytes of UTF-8. More is refused by `hash`, and answered with False (after the same work) by `verify`."""
_WAITING = 64

# A PHC string of the same cost that no password opens: what is checked for an unknown user. Its
# salt and hash are plain text in base64, so a preimage would be needed to match it.
_NOBODY = (
    f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}"
    "$cG9ydGVyby5ub2JvZHkuMQ$bm9ib2R5IGhhcyB0aGlzIHBhc3N3b3JkLCB0cnVseSE"
)


class Argon2PasswordHasher:
    """`PasswordHasher` by argon2id. Nothing is imported and no thread started before the first use."""

    __slots__ = ("_concurrency", "_hasher", "_pool", "_waiting")

    def __init__(self, *, concurrency: int | None = None) -> None:
        """Args:
        concurrency: checks at a time, each with 19 MiB; by default one per core, at most four.
        """
        self._concurrency = concurrency or min(4, os.cpu_count() or 1)
        self._hasher: argon2.PasswordHasher | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def hash(self, password: Secret[str]) -> str:
        """Return a PHC string.

        Raises:
            ValueError: longer than `LONGEST_PASSWORD`; check before (the text is the caller's).
            Unavailable: too many checks wait.
        """
        normal = _normal(password)
        if len(normal) > LONGEST_PASSWORD:
            raise ValueError(f"a password has at most {LONGEST_PASSWORD} bytes")
        return await self._run(partial(self._loaded().hash, normal))

    async def verify(self, password: Secret[str], phc: str | None) -> bool:
        """Check; `None` does the same work and answers False.

        Raises:
            Unavailable: too many checks wait.
        """
        normal = _normal(password)
        if len(normal) > LONGEST_PASSWORD:
            normal, phc = normal[:LONGEST_PASSWORD], None
        return await self._run(partial(self._verify, normal, phc))

    def needs_rehash(self, phc: str) -> bool:
        """Tell whether a stored hash was made with other parameters than today's, after `verify` said yes."""
        return self._loaded().check_needs_rehash(phc)

    def close(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _verify(self, password: bytes, phc: str | None) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        hasher = self._loaded()
        try:
            # A hash nobody can open, or none at all: the same work, and never a yes.
            return hasher.verify(phc or _NOBODY, password) and phc is not None
        except VerificationError:
            return False
        except InvalidHashError:
            with suppress(VerificationError):
                hasher.verify(_NOBODY, password)
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise Unavailable("password checks: too many wait", retry_after=2)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="argon2")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def _loaded(self) -> argon2.PasswordHasher:
        if self._hasher is None:
            import argon2  # 30 ms and 5 MB that a start without a sign-in does not pay

            self._hasher = argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        return self._hasher


def _normal(password: Secret[str]) -> bytes:
    # The same password typed on another keyboard is the same password (NIST SP 800-63B-4 §3.1.1.2: NFKC or NFKD).
    return unicodedata.normalize("NFKC", password.reveal()).encode("utf-8", "surrogatepass")
