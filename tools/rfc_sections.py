"""`python -m tools.rfc_sections FOLDER`: reads the section numbers of RFCs into docs/rfc-sections.json.

FOLDER holds `rfcNNNN.txt` or `.txt.gz`, such as Debian's `doc-rfc` packages install. RFCs that are not there keep what
the table says of them. Those packages end in January 2023: 9449, 9457, 9700 and 9728 were compared with their tables of
contents, and those in `FROM_MEMORY` were not. Only those that the source cites are kept.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs/rfc-sections.json"
UNCHECKED = {"10017": "published in August 2026; its text is not at hand"}
"""Cited, and not in the table: number → why."""
FROM_MEMORY = ("9440", "9470", "9493", "9864")
"""In the table, and typed without their texts at hand: a section missing there may exist, and the other way round."""
_PLACES = ("src", "tests", "clients/browser/src", "examples", "tools", "bench")
_NUMBER = r"(?:[0-9]+|[A-Z])(?:\.[0-9]+)*"
_HEADING = re.compile(rf"^(?:Appendix )?({_NUMBER})\.?  ?\s*\S", re.MULTILINE)
_CITED = re.compile(r"RFC ([0-9]{4,5})")
_SECTIONS = re.compile(rf"RFC ([0-9]{{4,5}}),? ((?:§{_NUMBER}(?:, | and |, and |–| to )?)+)")
_APPENDIX = re.compile(r"RFC ([0-9]{4,5}),? [aA]ppendix ([A-Z](?:\.[0-9]+)*)")


def citations() -> dict[str, dict[str, set[str]]]:
    """RFC number → section → the files that cite it; a number without a section has the section ''."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for place in _PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix not in (".py", ".ts", ".toml", ".mjs", ".html") or "node_modules" in path.parts:
                continue
            text, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
            for number in _CITED.findall(text):
                found[number][""].add(name)
            for number, sections in _SECTIONS.findall(text):
                for section in re.findall(rf"§({_NUMBER})", sections):
                    found[number][section].add(name)
            for number, section in _APPENDIX.findall(text):
                found[number][section].add(name)
    return found


def main() -> int:
    """Write the table anew."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    before: dict[str, str] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    table: dict[str, str] = {}
    for number in sorted(citations(), key=int):
        text = _text_of(folder, number)
        if text is not None:
            table[number] = " ".join(dict.fromkeys(_HEADING.findall(text)))
        elif number in before:
            table[number] = before[number]
            if number in FROM_MEMORY:
                print(f"RFC {number}: its sections are as somebody remembered them", file=sys.stderr)
        elif number not in UNCHECKED:
            print(f"RFC {number} is cited, and neither in {folder} nor in the table", file=sys.stderr)
    TABLE.write_text(json.dumps(table, indent=0) + "\n")
    return 0


def _text_of(folder: Path, number: str) -> str | None:
    for path in (folder / f"rfc{number}.txt", folder / f"rfc{number}.txt.gz"):
        if path.exists():
            raw = path.read_bytes()
            return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", "replace")
    return None


if __name__ == "__main__":
    sys.exit(main())
