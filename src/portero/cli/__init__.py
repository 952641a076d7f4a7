"""The command line: portero …

`main` is the entry point. It imports what it needs and no more: `portero --version` answers
before a command line is even parsed.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed (one line says why), 2 not understood."""
    if sys.argv[1:] == ["--version"]:
        from portero.cli.version import version

        print(f"portero {version()}")
        return
    from portero.cli.program import run

    sys.exit(run(sys.argv[1:]))
