"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from portero.core.types import NumericDate

Row = Mapping[str, object]


def print_rows(rows: Sequence[Row], *, columns: Sequence[str], as_json: bool, nothing: str) -> None:
    """Print rows as a table with the columns named, or all their members as a JSON array.

    Args:
        rows: equal members each.
        columns: members to show in the table, in order; the name is the heading.
        as_json: JSON instead.
        nothing: what to say (on standard error) when there are no rows.
    """
    if as_json:
        click.echo(json.dumps(list(rows), indent=2, ensure_ascii=False))
        return
    if not rows:
        click.echo(nothing, err=True)
        return
    table = [[column.replace("_", " ").upper() for column in columns]]
    table += [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[n]) for line in table) for n in range(len(columns))]
    for line in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def instant(at: NumericDate | None) -> str | None:
    """Write a second as RFC 3339 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value) or "-"
    # What people typed (a device's name) must not speak to the terminal.
    return "".join(c if c.isprintable() else "?" for c in str(value))
