"""`portero gateway`: run the gateway until it is told to stop."""

from __future__ import annotations

import os
from pathlib import Path

import click

from portero.gateway.engines import ENGINES, Options, engine_named


@click.command("gateway")
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default=next(iter(ENGINES)),
    show_default=True,
    help="What carries the requests; the manifest means the same to each.",
)
@click.option(
    "--manifest",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("portero.toml"),
    show_default=True,
    metavar="FILE",
    help="The manifest.",
)
@click.option("--log/--no-log", "access_log", default=True, show_default=True, help="A JSON line for each request.")
@click.option(
    "--deliver-to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Run no Envoy: keep its configuration fresh in FOLDER, for one that somebody else runs.",
)
@click.pass_context
def command(context: click.Context, engine: str, file: Path, access_log: bool, deliver_to: Path | None) -> None:
    """Run the gateway in front of the manifest's services.

    It is ready when the issuers' keys and the first snapshot of their revocations are in; /readyz at
    the address `[gateway] admin` says so. A changed manifest is taken over while it runs, a broken one
    changes nothing. SIGTERM or Ctrl-C finishes the requests that run, then stops.
    """
    if deliver_to is not None and engine != "envoy":
        raise click.UsageError("--deliver-to is for --engine envoy")
    run = engine_named(engine)
    options = Options(manifest_file=file, environ=os.environ, access_log=access_log, deliver_to=deliver_to)
    context.exit(run(options))
