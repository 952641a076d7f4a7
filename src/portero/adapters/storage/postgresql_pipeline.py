"""Statements that travel together: PostgreSQL's pipeline mode, and loading generators driven abreast."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import psycopg

from portero.adapters.storage.loads import TOGETHER, Loading
from portero.adapters.storage.postgresql_connections import Connection
from portero.adapters.storage.tables import Query, Row


def sent(
    connection: Connection, queries: Iterable[Query], *, repeated: dict[str, list[Row]] | None = None
) -> list[list[Row]]:
    """Send statements together, wait once; return the rows of each.

    Args:
        repeated: statements to carry out many times, before the others: parameters by text. Sending
            them in one go costs a third of sending them one by one.

    Raises:
        psycopg.Error: of the first statement that failed; those after it were not carried out.
    """
    with connection.pipeline():
        for text, many in (repeated or {}).items():
            connection.cursor().executemany(_wire_text(text), many)
        cursors = [connection.execute(_wire_text(text), values, binary=True) for text, values in queries]
    return [_rows(cursor) for cursor in cursors]


def loaded(
    connection: Connection, loadings: list[Loading[Any]], *, first: list[Query]
) -> tuple[list[Any], list[list[Row]]]:
    """Drive loading generators abreast, one round trip per step; `first` goes ahead of the first step.

    Returns:
        The aggregate of each, and the rows of `first`.
    """
    results: list[Any] = [None] * len(loadings)
    waiting: list[tuple[int, tuple[Query, ...]]] = []

    def advance(i: int, rows: list[list[Row]] | None) -> None:
        try:
            queries = next(loadings[i]) if rows is None else loadings[i].send(rows)
            waiting.append((i, queries))
        except StopIteration as done:
            results[i] = done.value

    for i in range(len(loadings)):
        advance(i, None)
    ahead: list[list[Row]] | None = None
    while waiting or ahead is None:
        step, waiting = waiting, []
        before = first if ahead is None else []
        answers = _sent_together(connection, before, [query for _, queries in step for query in queries])
        front = [next(answers) for _ in before]
        ahead = front if ahead is None else ahead
        for i, queries in step:
            advance(i, [next(answers) for _ in queries])
    return results, ahead


def _sent_together(connection: Connection, first: list[Query], queries: list[Query]) -> Any:
    """Send, those of `queries` that are one statement by different keys as one; iterate over the rows of each."""
    keys: dict[str, list[Any]] = {}
    for text, values in queries:
        if text in TOGETHER:
            keys.setdefault(text, []).append(values[0])
    alone = [query for query in queries if query[0] not in TOGETHER]
    listed = [(TOGETHER[text], (its_keys,)) for text, its_keys in keys.items()]
    answers = iter(sent(connection, [*first, *listed, *alone]))
    yield from (next(answers) for _ in first)
    by_key = {text: {row[0]: row for row in next(answers)} for text in keys}
    for text, values in queries:
        if text in by_key:
            row = by_key[text].get(values[0])
            yield [] if row is None else [row]
        else:
            yield next(answers)


def _rows(cursor: psycopg.Cursor[Row]) -> list[Row]:
    # `cursor.description` would describe every column, which costs more than reading them.
    result = cursor.pgresult
    return cursor.fetchall() if result is not None and result.nfields else []


@lru_cache(maxsize=512)
def _wire_text(text: str) -> bytes:
    """The shared statement text with psycopg's placeholders."""
    return text.replace("?", "%s").encode()
