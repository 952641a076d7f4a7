"""The schema's history, and whether a database stands where this program expects it.

Looking costs one statement; SQLAlchemy and Alembic are imported only when a migration is
due. A new database is created from the script beside this file, which a test compares
with what the migrations make.
"""

from __future__ import annotations

from enum import Enum, auto
from importlib import resources
from typing import Final

REVISIONS: Final = ("0001", "0002", "0230", "0240", "0270", "0275")
"""Every revision, oldest first. A migration adds its own here (a test compares with `versions/`)."""
HEAD: Final = REVISIONS[-1]
MIGRATION_LOCK: Final = 7_205_759
"""The advisory lock that PostgreSQL servers starting together queue on."""
STORED_REVISION: Final = "SELECT version_num FROM alembic_version"


class Standing(Enum):
    """A database's schema against this program's."""

    NEW = auto()
    CURRENT = auto()
    OLDER = auto()
    NEWER = auto()


def standing_of(revision: str | None) -> Standing:
    """Where a stored revision stands; `None` is a database without tables."""
    if revision is None:
        return Standing.NEW
    if revision == HEAD:
        return Standing.CURRENT
    return Standing.OLDER if revision in REVISIONS else Standing.NEWER


def creation_statements(dialect: str) -> list[str]:
    """The statements that make a new database (`sqlite` or `postgresql`), its revision included, `meta`'s row not."""
    script = resources.files(__name__).joinpath(f"{dialect}.sql").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [text for part in "\n".join(lines).split(";\n") if (text := part.strip().rstrip(";"))]
