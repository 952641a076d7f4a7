"""`portero afip ticket`: a ticket of AFIP's WSAA for a program."""

from __future__ import annotations

import json
from pathlib import Path

import click

from portero.core.types import Secret

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("ticket")
@click.argument("service")
@click.option(
    "--certificate",
    type=_FILE,
    required=True,
    envvar="PORTERO_AFIP_CERTIFICATE",
    show_envvar=True,
    help="The computer's certificate, PEM, as AFIP gave it.",
)
@click.option(
    "--key",
    type=_FILE,
    required=True,
    envvar="PORTERO_AFIP_KEY",
    show_envvar=True,
    help="Its RSA key, PEM. $PORTERO_AFIP_KEY_PASSWORD is the key's password, if it has one.",
)
@click.option(
    "--environment",
    type=click.Choice(["homologation", "production"]),
    default="homologation",
    show_default=True,
    help="AFIP's test environment, or the real one.",
)
@click.option("--url", help="Another WSAA, such as an emulator's.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where tickets are kept, shared by all that name it.  [default: a folder of yours]",
)
@click.option(
    "--wait",
    type=click.IntRange(0, 3600),
    default=0,
    show_default=True,
    help="Seconds to go on trying while AFIP gives none for the moment.",
)
@click.option("--info", is_flag=True, help="Whom and how long it is for, and not the ticket.")
@click.pass_context
def command(
    context: click.Context, service: str, certificate: Path, key: Path, environment: str, url: str | None,
    folder: Path | None, wait: int, info: bool,
) -> None:  # fmt: skip
    """Print a ticket for SERVICE, such as wsfe, as JSON: the kept one while it is good, or a new one.

    The ticket is a secret for twelve hours: token and sign together are the right to act for the CUITs
    in it. AFIP gives no second one for minutes after the first; after a lost answer, --wait 660 sits
    that out.
    """
    import os

    from portero.client.wsaa import HOMOLOGATION, PRODUCTION, Computer, Wsaa

    password = os.environ.get("PORTERO_AFIP_KEY_PASSWORD")
    computer = Computer.load(certificate, key, password=Secret(password.encode()) if password else None)
    where = url or (PRODUCTION if environment == "production" else HOMOLOGATION)
    ticket = Wsaa(computer, url=where, folder=folder).ticket(service, wait=wait)
    said: dict[str, object] = {
        "service": ticket.service, "cuits": ticket.cuits, "gen_time": ticket.gen_time, "exp_time": ticket.exp_time
    }  # fmt: skip
    if not info:
        said |= {"token": ticket.token.reveal(), "sign": ticket.sign.reveal()}
    click.echo(json.dumps(said, indent=2))
