"""Values inside a row: lists of texts as JSON, enums by their value, flags as 0 and 1."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

import orjson

from portero.adapters.storage.expiry import LARGEST

E = TypeVar("E", bound=Enum)


@lru_cache(maxsize=4096)
def texts_to_column(values: tuple[str, ...]) -> str:
    """A list of texts as a JSON array. Few different ones exist (scopes, methods), so they are remembered."""
    return orjson.dumps(values).decode()


@lru_cache(maxsize=4096)
def texts_from_column(column: str) -> tuple[str, ...]:
    return tuple(orjson.loads(column))


def by_value(kind: type[E]) -> dict[Any, E]:
    """Members by stored value: a dictionary answers ten times as fast as calling the enum."""
    return {member.value: member for member in kind}


def within_column(number: int) -> int:
    """The nearest integer that a column can be compared with."""
    return max(-LARGEST, min(LARGEST, number))


def storable(text: str) -> bool:
    """Whether a database can hold the text: no NUL (PostgreSQL has none) and no lone surrogate (not UTF-8)."""
    if text.isascii():
        return "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
