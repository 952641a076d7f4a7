"""The engines by name, and what each is started with. An engine's module is imported when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portero.core.errors import ConfigurationError
from portero.ports import Clock

ENGINES: Final = {
    "embedded": "portero.gateway.embedded.run:run",
    "envoy": "portero.gateway.envoy.run:run",
}
"""Name → `module:function`; the first is the default."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a gateway is started with; everything else stands in the manifest."""

    manifest_file: Path
    environ: Mapping[str, str]
    access_log: bool = True
    """One JSON line a request on standard output."""
    clock: Clock | None = None
    """`None`: the system's."""
    deliver_to: Path | None = None
    """Envoy: keep the configuration fresh in this folder, for an Envoy that somebody else runs."""


def engine_named(name: str) -> Callable[[Options], int]:
    """Find an engine: a function that runs until it is told to stop, and returns an exit code.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if name not in ENGINES:
        raise ConfigurationError("engine", name, f"must be one of {', '.join(ENGINES)}")
    module, _, function = ENGINES[name].partition(":")
    run: Callable[[Options], int] = getattr(importlib.import_module(module), function)
    return run
