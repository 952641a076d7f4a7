"""One clock for several processes, which a test or a demo may move forward.

Every process maps the same small file; `advance` is seen by all of them at the next `now()`.
Real time goes on underneath. For tests and demonstrations only: whoever can write the file can
make tokens expire, so it belongs in a folder of the test's own.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_OFFSET = struct.Struct("=d")


class SharedClock:
    """`portero.ports.Clock`: the system's time plus an offset in seconds kept in `path`.

    Args:
        path: the file of the offset; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists() or path.stat().st_size < _OFFSET.size:
            path.write_bytes(_OFFSET.pack(0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _OFFSET.size)

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z, UTC, moved by the offset."""
        return time.time() + self.offset

    def monotonic(self) -> float:
        """Real elapsed seconds: moving the clock is no pause of the program."""
        return time.monotonic()

    @property
    def offset(self) -> float:
        """Seconds this clock is ahead of the system's."""
        (offset,) = _OFFSET.unpack(self._map[:])
        return float(offset)

    def advance(self, seconds: float) -> float:
        """Move every sharer's clock forward; return the new offset. There is one writer: the test."""
        self._map[:] = _OFFSET.pack(self.offset + seconds)
        return self.offset
