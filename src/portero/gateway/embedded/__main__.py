"""One worker of several; started by `run`, never by people."""

from __future__ import annotations

import sys

from portero.gateway.embedded.run import work

if __name__ == "__main__":
    manifest_file, address, control, log = sys.argv[1:]
    sys.exit(work(manifest_file, address, int(control), log == "log"))
