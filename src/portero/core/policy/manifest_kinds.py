"""What a value of the manifest may be: the kinds `manifest_keys` is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NAME: Final = r"[A-Za-z][A-Za-z0-9_-]{0,63}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text; `pattern` must match the whole of it."""

    pattern: str = r"[\s\S]+"
    expected: str = "a text that is not empty"
    choices: tuple[str, ...] = ()
    shown: bool = True
    """Whether a message may repeat what stands there: not where somebody may have put a secret."""


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within bounds, both included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration such as `"90s"`."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts, each once, at least one."""

    item: Text


@dataclass(frozen=True, slots=True)
class Values:
    """A table of claim → text, whole number or flag."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with known keys."""

    keys: Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class ByName:
    """A table whose keys are names somebody chose."""

    item: Kind
    name: str
    """What a name is, for messages and the docs."""
    pattern: str = NAME


@dataclass(frozen=True, slots=True)
class Tables:
    """A list of tables."""

    item: Table


@dataclass(frozen=True, slots=True)
class TableOr:
    """A table, or one word written by hand."""

    table: Table
    word: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A table another program reads from the same file."""


Kind = Text | Flag | Number | Duration | Texts | Values | Table | ByName | Tables | TableOr | Elsewhere


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it may be and what it does."""

    kind: Kind
    says: str
    default: str = ""
    """As people write it; empty: there is none."""
    required: bool = False
