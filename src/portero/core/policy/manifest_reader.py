"""The shape of the manifest: every key known, every value of its kind. What the values mean is `manifest_parser`'s.

All mistakes are collected, each with its place, so that one look mends a file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, assert_never

from portero.core.durations import EXPECTED as A_DURATION
from portero.core.durations import parse_duration
from portero.core.errors import ConfigurationError
from portero.core.policy import manifest_kinds as kinds
from portero.core.policy.manifest_keys import MANIFEST
from portero.core.policy.toml_lines import Path, lines_of


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, what stands there, what it may be."""

    line: int
    key: str
    """Dotted, with indices from 0: `services.orders.routes[0].match`."""
    value: object
    expected: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key} is {self.value!r}: {self.expected}"


class ManifestError(ConfigurationError):
    """The manifest is wrong. `problems` has every mistake, the message the first with file, line and key."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(f"{file}:{first.line}: {first.key}", first.value, first.expected)
        self.file = file
        self.problems = tuple(problems)


class Places:
    """Collects problems, and knows the line of every key."""

    def __init__(self, file: str, lines: Mapping[Path, int]) -> None:
        self.file = file
        self._lines = lines
        self._problems: list[Problem] = []

    def line(self, path: Path) -> int:
        """The line of a key, or of the nearest table around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def wrong(self, path: Path, value: object, expected: str) -> None:
        """Note a mistake."""
        self._problems.append(Problem(self.line(path), dotted(path), value, expected))

    def settle(self) -> None:
        """Stop here if anything was wrong.

        Raises:
            ManifestError: all that was noted, in the order of the file.
        """
        if self._problems:
            raise ManifestError(self.file, sorted(self._problems, key=lambda problem: problem.line))


def dotted(path: Path) -> str:
    """Write a path as people read it."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            shown = step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else f'"{step}"'
            written += f".{shown}" if written else shown
    return written


def read_document(text: str, *, file: str) -> tuple[dict[str, Any], Places]:
    """Read a manifest's text by the table of keys.

    Args:
        text: TOML.
        file: its name, for messages.

    Returns:
        The values that were given, in plain Python shapes: texts, booleans, `timedelta`s, tuples,
        dictionaries. And the places, for who goes on checking.

    Raises:
        ManifestError: it is no TOML, a key is unknown or missing, or a value is of another kind.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise ManifestError(file, [Problem(line, "(the file)", "(not TOML)", str(error))]) from None
    places = Places(file, lines_of(text))
    values = dict(_members(MANIFEST, document, (), places))
    places.settle()
    return values, places


def _read(kind: kinds.Kind, value: object, path: Path, places: Places) -> Any:
    match kind:
        case kinds.Text():
            return _text(kind, value, path, places)
        case kinds.Flag():
            return _of_type(bool, value, path, places, "true or false")
        case kinds.Number():
            return _number(kind, value, path, places)
        case kinds.Duration():
            return _duration(value, path, places)
        case kinds.Texts():
            return _texts(kind, value, path, places)
        case kinds.Values():
            return _values(value, path, places)
        case kinds.Table():
            table = _of_type(dict, value, path, places, "a table")
            return dict(_members(kind, table, path, places))
        case kinds.ByName():
            return dict(_by_name(kind, value, path, places))
        case kinds.Tables():
            listed = _of_type(list, value, path, places, "a list of tables")
            return [_read(kind.item, item, (*path, index), places) for index, item in enumerate(listed)]
        case kinds.TableOr():
            if value == kind.word:
                return None
            if isinstance(value, dict):
                return dict(_members(kind.table, value, path, places))
            places.wrong(path, value, f'must be a table, or "{kind.word}"')
            return None
        case kinds.Elsewhere():
            return None
        case _:
            assert_never(kind)


def _of_type(wanted: type, value: object, path: Path, places: Places, expected: str) -> Any:
    if isinstance(value, wanted):
        return value
    places.wrong(path, value, f"must be {expected}")
    return wanted()


def _text(kind: kinds.Text, value: object, path: Path, places: Places) -> str:
    if kind.choices:
        if value not in kind.choices:
            near = get_close_matches(str(value), kind.choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            places.wrong(path, value, f"must be {_one_of(kind.choices)}{hint}")
        return str(value)
    if not isinstance(value, str) or re.fullmatch(kind.pattern, value) is None:
        places.wrong(path, value if kind.shown else "(not shown)", f"must be {kind.expected}")
    return str(value)


def _texts(kind: kinds.Texts, value: object, path: Path, places: Places) -> tuple[str, ...]:
    # An empty list would read as "nothing is required".
    if not isinstance(value, list) or not value:
        places.wrong(path, value, "must be a list with at least one text")
        return ()
    read = tuple(_text(kind.item, item, (*path, index), places) for index, item in enumerate(value))
    if len(set(read)) < len(read):
        places.wrong(path, value, "must name each once")
    return read


def _duration(value: object, path: Path, places: Places) -> object:
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        places.wrong(path, value, f"must be {A_DURATION}")
        return None


def _number(kind: kinds.Number, value: object, path: Path, places: Places) -> int:
    if type(value) is int and kind.least <= value <= kind.most:
        return value
    places.wrong(path, value, f"must be a whole number from {kind.least} to {kind.most}")
    return kind.least


def _values(value: object, path: Path, places: Places) -> dict[str, str | int | bool]:
    table: dict[str, object] = _of_type(dict, value, path, places, "a table of claims and their values")
    for name, claim in table.items():
        if not isinstance(claim, str | int | bool):
            places.wrong((*path, name), claim, "must be a text, a whole number, true or false")
    if not table and isinstance(value, dict):
        places.wrong(path, value, "must name at least one claim")
    return {name: claim for name, claim in table.items() if isinstance(claim, str | int | bool)}


def _by_name(kind: kinds.ByName, value: object, path: Path, places: Places) -> Iterator[tuple[str, Any]]:
    table: dict[str, object] = _of_type(dict, value, path, places, f"a table with a key for each name of {kind.name}")
    for name, item in table.items():
        if re.fullmatch(kind.pattern, name) is None:
            places.wrong((*path, name), name, f"the name of {kind.name} is letters, digits, - and _, 64 at most")
        yield name, _read(kind.item, item, (*path, name), places)


def _members(kind: kinds.Table, table: Mapping[str, object], path: Path, places: Places) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = kind.keys.get(name)
        if key is None:
            places.wrong((*path, name), "(unknown key)", _unknown(name, kind.keys))
        else:
            yield name, _read(key.kind, value, (*path, name), places)
    for name, key in kind.keys.items():
        if key.required and name not in table:
            places.wrong((*path, name), "(missing)", f"must be given. {key.says}")


def _unknown(name: str, known: Mapping[str, object]) -> str:
    if "secret_env" in known and "secret" in name:
        return "secrets are not written here: name an environment variable in 'secret_env'"
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return "no such setting; " + (
        f"did you mean {near[0]!r}?" if near else f"known here are {', '.join(sorted(known))}"
    )


def _one_of(choices: Sequence[str]) -> str:
    return ", ".join(f'"{choice}"' for choice in choices[:-1]) + f' or "{choices[-1]}"'
