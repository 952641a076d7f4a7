"""Write the scripts that create a new database: `python -m portero.adapters.storage.migrations.creation`.

Run after every migration; a test fails until the scripts agree with the metadata.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from portero.adapters.storage.migrations import HEAD
from portero.adapters.storage.schema import metadata

DIALECTS = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}


def creation_script(name: str) -> str:
    """The script for one dialect, ending in the revision it stands for."""
    dialect: Dialect = DIALECTS[name]()
    statements = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    statements.append(
        "CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n"
        "\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)"
    )
    statements.append(" ".join(("INSERT INTO alembic_version (version_num) VALUES (", repr(HEAD), ")")))
    texts = ["\n".join(line.rstrip().expandtabs(4) for line in s.strip().splitlines()) for s in statements]
    return "-- Made by portero.adapters.storage.migrations.creation.\n" + ";\n\n".join(texts) + ";\n"


def main() -> None:
    for name in DIALECTS:
        Path(__file__).with_name(f"{name}.sql").write_text(creation_script(name), encoding="utf-8")


if __name__ == "__main__":
    main()
