"""The pages tell the truth: their code runs, and what is generated is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "README.es.md",
    "docs/how-to/call-the-next-service.md",
    "docs/how-to/other-issuers.md",
    "docs/how-to/browser-session.md",
    "docs/how-to/python-client.md",
    "docs/how-to/device-flow.md",
    "docs/how-to/direct-sign-in.md",
    "docs/how-to/sign-in-with-any-library.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Python block runs as it stands; a block that names its file can be imported by the later ones."""
    monkeypatch.setenv("ORDERS_SECRET", "x" * 43)
    monkeypatch.setenv("SHOP_SESSION_SECRET", "s" * 43)
    monkeypatch.setenv("SHOP_CLIENT_SECRET", "c" * 43)
    monkeypatch.setenv("NOTES_SECRET", "n" * 43)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        named = re.match(r"# (\w+)\.py\n", block)
        if named:
            module = types.ModuleType(named[1])
            exec(compile(block, page, "exec"), module.__dict__)  # noqa: S102 - our own page
            monkeypatch.setitem(sys.modules, named[1], module)
        else:
            # `app`, where a block wraps the reader's own, is the one of the block before.
            names = {"app": names.get("app"), "__name__": "page"}
            exec(compile(block, page, "exec"), names)  # noqa: S102 - our own page

    assert blocks


def links(page: Path) -> set[Path]:
    """The files that a page links to, itself left out."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
    return {(page.parent / link).resolve() for link in found}


def test_links_lead_somewhere() -> None:
    """A page that was renamed takes its links along."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    dead = {f"{page.relative_to(ROOT)} → {link}" for page in pages for link in links(page) if not link.exists()}

    assert dead == set()


def test_every_page_is_in_the_index() -> None:
    """Who looks for a page finds it in docs/README.md."""
    pages = {page for room in ("how-to", "explanation", "reference") for page in (ROOT / "docs" / room).glob("*.md")}

    assert pages - links(ROOT / "docs/README.md") == set()


def test_generated_pages_are_up_to_date() -> None:
    """`make docs` would change nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.docs", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
