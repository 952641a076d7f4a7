"""The index of standards is whole, and every citation in the source names a section that exists."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from tools.rfc_sections import TABLE, UNCHECKED, citations

ROOT = Path(__file__).resolve().parents[2]
STATES = {"yes", "partial", "no"}


def index() -> dict[str, list[str]]:
    groups = tomllib.loads((ROOT / "docs/standards.toml").read_text())
    return {number: entry for entries in groups.values() for number, entry in entries.items()}


def test_every_entry_has_a_state_and_a_reason() -> None:
    """Title, yes or partial or no, and a sentence."""
    assert all(len(entry) == 3 and entry[1] in STATES and entry[2].endswith(".") for entry in index().values()), index()


def test_every_rfc_that_the_source_cites_is_in_the_index() -> None:
    """Whoever cites a document says how far it is followed."""
    cited = {number for number, sections in citations().items() if any("src/" in f for f in sections[""])}

    assert {f"RFC {number}" for number in cited} - index().keys() == set()


def test_every_section_cited_exists() -> None:
    """A wrong citation sends its reader astray; each is named with the files it stands in."""
    table = {number: set(sections.split()) for number, sections in json.loads(TABLE.read_text()).items()}
    found = citations()
    sectioned = {number for number, sections in found.items() if set(sections) - {""}}
    unknown = sectioned - set(table) - set(UNCHECKED)
    wrong = {
        f"RFC {number} §{section}": sorted(files)
        for number, sections in found.items()
        if number in table
        for section, files in sections.items()
        if section and section not in table[number]
    }

    assert unknown == set()
    assert wrong == {}
