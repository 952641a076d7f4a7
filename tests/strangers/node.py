"""A stranger that is a Node program: it asks for pages to be visited, and reports what it saw, line by line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


class Stranger:
    """A running program. Each line it writes is a JSON object; each line it reads answers one."""

    def __init__(self, program: str, **arguments: Any) -> None:
        self._process = subprocess.Popen(
            ["node", program, json.dumps(arguments)],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def until(self, name: str, *, visit: Callable[[str], str] | None = None) -> Any:
        """Read on until the program reports `name`; visit what it asks for and give it where that led."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if name in said:
                return said[name]
            if "visit" in said and visit is not None:
                self.tell(visit(said["visit"]))
                continue
            raise AssertionError(f"waited for {name}, heard {said}")
        raise AssertionError(f"waited for {name}, and the program ended with {self._process.wait(60)}")

    def all(self) -> Iterator[dict[str, Any]]:
        """Everything the program says, to its end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def lives_until(self, end: Callable[[], object]) -> None:
        """Expect the rest of the story: the API opens, also after a refresh; then `end`, and neither works any more."""
        assert self.until("api") == 200
        assert self.until("refreshed")
        assert self.until("api") == 200
        self.until("waiting")
        end()
        self.tell("signed out")
        assert self.until("refused") == "invalid_grant"
        assert self.until("api") == 401

    def tell(self, answer: object) -> None:
        """Answer the program."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(answer) + "\n")
        self._process.stdin.flush()
