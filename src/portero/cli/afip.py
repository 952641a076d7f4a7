"""`portero afip`: what a team needs to work with AFIP, and an AFIP of its own to try it on."""

from __future__ import annotations

from pathlib import Path

import click

from portero.cli.program import LazyGroup


@click.command(
    "afip",
    cls=LazyGroup,
    lazily={
        "ticket": ("afip_ticket", "Print a ticket (WSAA) for one of AFIP's business services."),
        "emulate": ("afip_emulate", "Run an AFIP of one's own: Clave Fiscal and WSAA, with every fault."),
    },
)
def command() -> None:
    """AFIP (ARCA): tickets for programs, and an AFIP of one's own to try things without AFIP."""


DEFAULT_FOLDER = Path("afip-emulador")
