"""The page about testing is a folder of files: they are written down, and pytest runs them as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/test-your-service.md"


def test_the_examples_of_the_page_pass_as_they_stand(tmp_path: Path) -> None:
    """In an empty folder, with nothing but what the page says."""
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, text in blocks:
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for framework in ("fastapi", "flask", "django", "callers", "outage"):
        assert f"test_{framework}.py" in [name for name, _ in blocks]
    assert re.search(r"\d\d passed", done.stdout)
