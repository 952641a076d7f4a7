"""Floor 1 is pure: what the import contracts cannot say of parts of a standard package."""

from __future__ import annotations

import ast
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "src/portero/core"
IMPURE = ("urllib.request", "http.client", "http.server", "concurrent", "multiprocessing", "select")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_core_imports_nothing_that_reaches_the_world() -> None:
    """`urllib.parse` and `http.HTTPStatus` are pure; their neighbours are not (invariant 1)."""
    found = {
        f"{path.relative_to(CORE)}: {name}"
        for path in CORE.rglob("*.py")
        for name in imported(path)
        if any(name == impure or name.startswith(impure + ".") for impure in IMPURE)
    }

    assert found == set()


def test_core_takes_time_and_randomness_as_arguments() -> None:
    """No clock is read and no randomness drawn in core: `datetime.now`, `os.urandom`, `uuid4` and the like."""
    calls = ("datetime.now", "datetime.utcnow", "os.urandom", "uuid.uuid4", "uuid4", "time.time", "token_bytes")
    found = {
        f"{path.relative_to(CORE)}: {ast.unparse(node.func)}"
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in calls
    }

    assert found == set()
