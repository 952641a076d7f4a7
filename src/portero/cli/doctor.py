"""`portero doctor`: check a configuration from end to end, and say how to mend what is wrong.

It changes nothing: no database is made, no schema migrated, no key touched. Each check looks at one
thing and gives findings; a check that cannot look, because what it needs is missing, says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from portero.cli import doctor_checks as checks
from portero.cli.doctor_checks import Finding, Verdict, ok, wrong
from portero.cli.settings import DEFAULT_FILE, config_option, json_option, settings
from portero.core.errors import ConfigurationError


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Do not ask the issuer's URL.")
@json_option
@config_option
def command(offline: bool, as_json: bool, config_file: Path | None) -> None:
    """Check a configuration from end to end, and say how to mend it.

    Looks at the settings and what they mean together, the files and who may read them, the
    database and its schema, keys, clients, port, issuer and clock. Changes nothing. Exits with 1
    when something is wrong.
    """
    findings = list(examine(config_file, offline=offline))
    if as_json:
        click.echo(
            json.dumps([asdict(f) | {"verdict": f.verdict.value} for f in findings], indent=2, ensure_ascii=False)
        )
    else:
        _print(findings)
    if any(finding.verdict is Verdict.WRONG for finding in findings):
        raise click.exceptions.Exit(1)


def examine(config_file: Path | None, *, offline: bool) -> Iterator[Finding]:
    """Run all checks in the order in which one rests on another."""
    source = config_file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    try:
        config = settings(config_file)
    except ConfigurationError as error:
        yield wrong("settings", f"{error.setting} is {error.value!r}", error.expected)
        return
    where = "no file: the defaults" if source is None else str(source)
    yield ok("settings", where)
    if source is not None:
        yield from checks.settings_file(source)
    yield from checks.exposure(config)
    yield from checks.lifetimes(config)
    look = asyncio.run(checks.look_into_database(config))
    yield from look.findings
    yield from checks.secrets_file(config, look)
    yield from checks.signing_keys(config, look)
    yield from checks.clients(config, look)
    yield from checks.people(look)
    yield from checks.place_to_listen(config)
    if not offline:
        yield from checks.issuer_and_clock(config)


def _print(findings: list[Finding]) -> None:
    marks = {Verdict.OK: ("ok   ", "green"), Verdict.NOTE: ("note ", "yellow"), Verdict.WRONG: ("WRONG", "red")}
    for finding in findings:
        mark, color = marks[finding.verdict]
        click.echo(f"{click.style(mark, fg=color)}  {finding.about}: {finding.what}")
        if finding.remedy:
            click.echo(f"       → {finding.remedy}")
    wrongs = sum(finding.verdict is Verdict.WRONG for finding in findings)
    notes = sum(finding.verdict is Verdict.NOTE for finding in findings)
    click.echo(f"{len(findings)} checks: {wrongs} wrong, {notes} to note")
