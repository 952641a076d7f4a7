"""In which line each key of a TOML document stands; `tomllib` does not tell (decision 0121).

The document was parsed by `tomllib` already: this scanner only finds places in text known to be
well-formed, and decides nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

Path = tuple[str | int, ...]
"""Keys and, for the elements of an array, indices from 0."""


def lines_of(document: str) -> Mapping[Path, int]:
    """Map the path of every key, table and array element to its line, from 1.

    Args:
        document: well-formed TOML 1.0.
    """
    return _Scanner(document).scan()


_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"[ \t]*")
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
# Longest first. Where four or five quotes end a text, the first of them belong to it (TOML 1.0 "String").
_STRING: Final = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"""(?!")|'
    r"'''[\s\S]*?'''(?!')|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'"
)


class _Scanner:
    def __init__(self, document: str) -> None:
        self._text = document
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._lines: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}
        """Path of an array of tables → index of its last element."""

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._lines

    def _header(self) -> Path:
        is_element = self._text.startswith("[[", self._at)
        line = self._here()
        self._at += 2 if is_element else 1
        keys = self._keys()
        self._at += 2 if is_element else 1
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            last = number == len(keys) - 1
            self._lines.setdefault(path, line)
            if last and is_element:
                self._elements[path] = self._elements.get(path, -1) + 1
            if path in self._elements:
                path = (*path, self._elements[path])
                self._lines.setdefault(path, line)
        if not is_element:
            # [a.b] may come before [a]: the header itself is where people look.
            self._lines[path] = line
        return path

    def _pair(self, table: Path) -> None:
        line = self._here()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # =
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_BLANK)
            bare = _BARE.match(self._text, self._at)
            if bare is not None:
                keys.append(bare[0])
                self._at = bare.end()
            else:
                keys.append(self._quoted_key())
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _quoted_key(self) -> str:
        start = self._at
        self._skip(_STRING)
        key: str = tomllib.loads("key = " + self._text[start : self._at])["key"]
        return key

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening in "\"'":
            self._skip(_STRING)
        elif opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        self._skip(_SPACE)
        index = 0
        while self._text[self._at] != "]":
            self._lines[(*path, index)] = self._here()
            self._value((*path, index))
            index += 1
            self._next_item()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(_SPACE)
        while self._text[self._at] != "}":
            self._pair(path)
            self._next_item()
        self._at += 1

    def _next_item(self) -> None:
        self._skip(_SPACE)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_SPACE)

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self._text, self._at)
        if found is not None:
            self._at = found.end()

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line
