"""Freeze the statements of the storage modules as they stand: what the next version has to bear beside itself.

Run in a checkout of the last commit before a migration (a running server of that commit sends these texts):

    python -m tests.storage.previous.freeze > tests/storage/previous/NNNN.json

where NNNN is that commit's newest revision.
"""

from __future__ import annotations

import json
import re
from types import ModuleType

from portero.adapters.storage import (
    loads,
    postgresql_locks,
    rows_consent,
    rows_feed,
    rows_grants,
    rows_linked,
    rows_outbox,
    rows_registry,
    rows_sessions,
    writes,
)

MODULES = (loads, rows_consent, rows_feed, rows_grants, rows_linked, rows_outbox, rows_registry, rows_sessions, writes)
_STATEMENT = re.compile(r"(SELECT|INSERT|UPDATE|DELETE) .*\S$")


def frozen() -> dict[str, dict[str, str]]:
    """The texts by name: those for every database, and those for PostgreSQL alone (arrays, locks)."""
    everywhere = {name: text for module in MODULES for name, text in _texts_of(module)}
    everywhere |= {f"sweep {text.split()[2]}": text for text, _ in writes.Sweep(skip_locked=False)._turns}
    postgresql = dict(_texts_of(postgresql_locks))
    postgresql |= {f"together {text.split(' FROM ')[1].split()[0]}": text for text in loads.TOGETHER.values()}
    postgresql |= {f"sweep {text.split()[2]}": text for text, _ in writes.Sweep(skip_locked=True)._turns}
    return {"everywhere": everywhere, "postgresql": postgresql}


def _texts_of(module: ModuleType) -> list[tuple[str, str]]:
    room = module.__name__.rpartition(".")[2]
    found = [(name, value) for name, value in vars(module).items() if isinstance(value, str)]
    if module is writes:
        found += [(f"_DELETE {name}", text) for name, text in writes._DELETE.items()]
    return [(f"{room}.{name}", text) for name, text in found if _STATEMENT.fullmatch(text)]


if __name__ == "__main__":
    print(json.dumps(frozen(), indent=1))
