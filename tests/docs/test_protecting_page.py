"""The page about protecting a service is a folder of files: every framework's example is asked as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/how-to/protect-a-service.md"
ASKED = Path(__file__).with_name("protecting_page_asked.py")
FRAMEWORKS = ("fastapi", "flask", "starlette", "litestar", "quart", "wsgi", "grpc", "grpc_aio", "django", "drf")


def test_every_example_of_the_page_guards_as_it_stands(tmp_path: Path) -> None:
    """In an empty folder, with nothing but what the page says, and each in under fifteen lines."""
    blocks = re.findall(r"```python\n(?:# (\w+)\.py\n)?(.*?)```", PAGE.read_text(), re.DOTALL)
    for number, (name, text) in enumerate(blocks):
        assert name == "guarding" or len(text.splitlines()) < 15 or not name, name
        with (tmp_path / f"{name or f'unnamed_{number}'}.py").open("a") as file:
            file.write(text)  # what belongs to one file is said in several places
    (tmp_path / "test_asked.py").write_text(ASKED.read_text())

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "ORDERS_SECRET": "x" * 43},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    named = {name for name, _ in blocks}
    for framework in FRAMEWORKS:
        assert named & {f"{framework}_service", f"{framework}_views"}, framework
    assert re.search(rf"\b{len(FRAMEWORKS) + 1} passed", done.stdout), done.stdout
