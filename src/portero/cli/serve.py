"""`portero serve`: run the authorization server until it is told to stop."""

from __future__ import annotations

from pathlib import Path

import click

from portero.cli.settings import config_option, settings


@click.command("serve")
@config_option
def command(config_file: Path | None) -> None:
    """Run the authorization server in this process.

    The first start makes the database and the secrets file. SIGTERM or Ctrl-C finishes the requests
    that run, then stops. Logs are JSON lines on standard error.
    """
    config = settings(config_file)
    # Not before the settings are right: the server is the largest import of all commands.
    from portero.authorization_server.server import run

    def listening(address: str) -> None:
        click.echo(f"portero: {config.issuer} is served at {address} (stop with Ctrl-C)", err=True)

    run(config, listening=listening)
