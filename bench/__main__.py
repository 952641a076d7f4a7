"""`make bench NAME=…`: run one benchmark, or all that stand, one after the other."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

NAMES = tuple(
    name
    for name in ("verify", "guard", "refresh", "startup", "revocation", "gateway", "envoy", "clients", "sign_in")
    if importlib.util.find_spec(f"bench.{name}") is not None
)


def main() -> int:
    name = (sys.argv[1] if len(sys.argv) > 1 else "") or os.environ.get("NAME", "")
    if name and name not in NAMES:
        print(f"error: NAME={name} is not known. Valid: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for one in (name,) if name else NAMES:
        importlib.import_module(f"bench.{one}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
