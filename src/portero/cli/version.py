"""Which version is installed."""

from __future__ import annotations


def version() -> str:
    """Return the distribution's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("portero")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "0 (not installed)"
