"""Ports for servers that are started a moment later.

Not from the range the system takes local ports of outgoing connections from: there, a client's connection may get the
port between the look and the start.
"""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
_TRIES = 1_000


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody holds right now, each another one.

    Raises:
        OSError: there are not so many.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for _ in range(_TRIES):
            if len(found) == count:
                return found
            one = held.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", random.randrange(_LOWEST, _highest())))  # noqa: S311 - nothing depends on it
            except OSError:
                continue
            found.append(one.getsockname()[1])
    raise OSError(f"no {count} free ports between {_LOWEST} and {_highest()}")


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]


def _highest() -> int:
    try:
        return max(_LOWEST + 1_000, int(_RANGE.read_text().split()[0]))
    except (OSError, ValueError):
        return 32_768
