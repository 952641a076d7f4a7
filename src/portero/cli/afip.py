"""`portero afip`: what a team needs to work with AFIP, and an AFIP of its own to try it on."""

from __future__ import annotations

from pathlib import Path

import click

from portero.cli.program import LazyGroup


@click.command(
    "afip",
    cls=LazyGroup,
    lazily={"emulate": ("afip_emulate", "Run an AFIP of one's own: Clave Fiscal with every fault.")},
)
def command() -> None:
    """AFIP (ARCA): try «Ingresar con Clave Fiscal» without AFIP."""


DEFAULT_FOLDER = Path("afip-emulador")
