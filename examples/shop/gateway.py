"""The demo's gateway: `portero gateway` on the run's manifest, with the movable clock."""

from __future__ import annotations

import sys

from examples.shop.manifest import ENVIRON_NAME
from examples.shop.settings import Settings
from portero.gateway.engines import Options, engine_named
from portero.testing.shared_clock import SharedClock

if __name__ == "__main__":
    here = Settings.load()
    options = Options(
        manifest_file=here.manifest_file,
        environ={ENVIRON_NAME: here.feed_secret},
        clock=SharedClock(here.clock_file),
    )
    sys.exit(engine_named(here.engine)(options))
