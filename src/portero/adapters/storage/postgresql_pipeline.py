"""Statements that travel together: PostgreSQL's pipeline mode, and loading generators driven abreast."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from portero.adapters.storage.loads import Loading
from portero.adapters.storage.postgresql_connections import Connection
from portero.adapters.storage.tables import Query, Row


def sent(connection: Connection, queries: Iterable[Query]) -> list[list[Row]]:
    """Send statements together, wait once; return the rows of each.

    Raises:
        psycopg.Error: of the first statement that failed; those after it were not carried out.
    """
    with connection.pipeline():
        cursors = [connection.execute(_wire_text(text), values, binary=True) for text, values in queries]
    return [cursor.fetchall() if cursor.description is not None else [] for cursor in cursors]


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
    answers = iter(sent(connection, [*first, *(query for _, queries in waiting for query in queries)]))
    ahead = [next(answers) for _ in first]
    while waiting:
        step, waiting = waiting, []
        for i, queries in step:
            advance(i, [next(answers) for _ in queries])
        if waiting:
            answers = iter(sent(connection, [query for _, queries in waiting for query in queries]))
    return results, ahead


@lru_cache(maxsize=512)
def _wire_text(text: str) -> bytes:
    """The shared statement text with psycopg's placeholders."""
    return text.replace("?", "%s").encode()
