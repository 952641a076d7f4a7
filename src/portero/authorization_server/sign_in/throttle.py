"""How fast passwords may be tried: a delay that grows, per account and per address, and never a lock-out.

An account that others attack stays open to its owner: an address from which that account signed
in before is not held back by what strangers do, and for everybody else the account's delay ends
at `ACCOUNT_CAP` seconds. An address that fails on many accounts waits longer, up to
`ADDRESS_CAP`. An attempt counts before its password is looked at, so that a hundred at once are
a hundred; while the delay runs nothing is looked at and nothing counts.

Kept in memory, of bounded size, per server process: a restart forgives. What it costs an
attacker is written down in docs/decisions/0052.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass

FREE_ATTEMPTS = 5
"""Failures in a row without any delay."""
ACCOUNT_CAP = 30
"""Seconds between attempts on one account, at most."""
ADDRESS_FREE_ATTEMPTS = 20
"""Failures from one address without any delay: an office shares one."""
ADDRESS_CAP = 900
"""Seconds between attempts from one address, at most."""
FORGET_AFTER = 3600.0
"""Seconds without a failure after which an entry is gone."""
MAX_ENTRIES = 20_000
"""Entries per table; the one least recently touched gives way."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class SignInThrottle:
    """Counts failures. Not thread-safe: it lives on one event loop."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[bytes, _Failures] = OrderedDict()
        self._addresses: OrderedDict[bytes, _Failures] = OrderedDict()
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def begin(self, *, username: str, address: str, at: float) -> int:
        """Count an attempt as failed unless told otherwise, and allow it; or say how long to wait.

        Args:
            at: monotonic seconds.

        Returns:
            0, or the whole seconds until the next attempt is welcome; then nothing was counted.
        """
        account, source = _key("account", username), _key("address", address)
        # A pair that signed in before has a count of its own, which no stranger can raise.
        pair = _key("pair", f"{username}\0{address}")
        subject = pair if pair in self._known else account
        wait = max(
            _wait(self._accounts.get(subject), at=at, free=FREE_ATTEMPTS, cap=ACCOUNT_CAP),
            _wait(self._addresses.get(source), at=at, free=ADDRESS_FREE_ATTEMPTS, cap=ADDRESS_CAP),
        )
        if wait:
            return wait
        _count(self._accounts, subject, at=at)
        _count(self._addresses, source, at=at)
        return 0

    def succeeded(self, *, username: str, address: str) -> None:
        """Forgive this account, take this attempt back from the address, and remember the pair.

        The address keeps its other failures: whoever owns one account must not be able to wash
        away the guesses at others.
        """
        self._accounts.pop(_key("account", username), None)
        pair = _key("pair", f"{username}\0{address}")
        self._accounts.pop(pair, None)
        failures = self._addresses.get(_key("address", address))
        if failures is not None:
            failures.count -= 1
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_ENTRIES:
            self._known.popitem(last=False)


def _key(kind: str, name: str) -> bytes:
    # A digest: constant size however long a name is typed, and no list of names in memory.
    return hashlib.sha256(f"{kind}\0{name}".encode()).digest()[:16]


def _wait(failures: _Failures | None, *, at: float, free: int, cap: int) -> int:
    if failures is None or failures.count < free or at - failures.last > FORGET_AFTER:
        return 0
    delay = min(cap, 1 << min(failures.count - free, 16))
    return max(0, math.ceil(failures.last + delay - at))


def _count(table: OrderedDict[bytes, _Failures], key: bytes, *, at: float) -> None:
    failures = table.get(key)
    if failures is None or at - failures.last > FORGET_AFTER:
        table[key] = failures = _Failures(0, at)
    failures.count += 1
    failures.last = at
    table.move_to_end(key)
    if len(table) > MAX_ENTRIES:
        table.popitem(last=False)
