"""One target under libFuzzer: `python -m tests.fuzz.one_target NAME [libFuzzer's arguments]`; see `bench/fuzz.py`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["portero"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv[1]]

    def one_input(data: bytes) -> None:
        target.run(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
