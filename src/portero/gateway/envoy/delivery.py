"""Files for Envoy: written beside and renamed into place, never to be read half, and only where they changed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path


class Delivery:
    """One folder that Envoy watches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: dict[str, bytes] = {}

    def deliver(self, files: Mapping[str, bytes]) -> list[str]:
        """Write what is new; answer its names."""
        changed = []
        for name, content in files.items():
            digest = sha256(content).digest()
            if self._written.get(name) == digest:
                continue
            folder = self.folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
            # Not written in the folder itself, whose every event makes Envoy read.
            unfinished = self.folder / f".{name}.new"
            unfinished.write_bytes(content)
            unfinished.replace(folder / name)
            self._written[name] = digest
            changed.append(name)
        return changed

    def forget(self) -> None:
        """Write everything again next time."""
        self._written.clear()
