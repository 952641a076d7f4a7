"""Files for Envoy: written beside and renamed into place, never to be read half, and only where they changed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path


class Delivery:
    """One folder that Envoy watches. What an earlier process left there counts as delivered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written = {
            file.name: sha256(file.read_bytes()).digest()
            for file in folder.glob("*/*")
            if file.name == file.parent.name
        }

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

    def delivered(self, name: str) -> bytes | None:
        """What stands in a file now."""
        return (self.folder / name / name).read_bytes() if name in self._written else None
