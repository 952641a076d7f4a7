"""`portero manifest …`: check it, explain one request by it, print its schema. Needs no server."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import click

from portero.cli.output import print_rows
from portero.core.errors import ConfigurationError
from portero.core.policy.explain import Explanation, explain
from portero.core.policy.json_schema import manifest_schema
from portero.core.policy.manifest import Manifest, Service, gateway_matcher
from portero.core.policy.manifest_parser import ManifestError, parse_manifest
from portero.core.policy.path import AmbiguousPath, normal_path, split_target
from portero.core.policy.refusal import Refusal
from portero.core.policy.routes import Free

DEFAULT_FILE = Path("portero.toml")
FAILED = 1


@click.group("manifest")
def command() -> None:
    """The manifest, portero.toml: who the issuers are, which routes exist and what each requires."""


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def check(context: click.Context, file: Path, as_json: bool) -> None:
    """Check FILE (portero.toml) and tell every mistake with its line and key."""
    try:
        manifest = read_manifest(file)
    except ManifestError as error:
        if as_json:
            rows = [
                {
                    "file": error.file,
                    "line": one.line,
                    "key": one.key,
                    "value": str(one.value),
                    "expected": one.expected,
                }
                for one in error.problems
            ]
            click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            for one in error.problems:
                click.echo(f"{error.file}:{one.line}: {one.key} is {one.value!r}: {one.expected}", err=True)
            click.echo(f"{len(error.problems)} wrong", err=True)
        context.exit(FAILED)
    if as_json:
        click.echo("[]")
        return
    routes = sum(len(service.routes) for service in manifest.services.values())
    click.echo(
        f"{file}: good. Layout {manifest.layout.value}, {_count(len(manifest.issuers), 'issuer')}, "
        f"{_count(len(manifest.services), 'service')}, {_count(routes, 'route')}."
    )
    for note in _notes(manifest):
        click.echo(f"note: {note}")


@command.command("explain")
@click.argument("method")
@click.argument("path")
@click.option("--service", "name", metavar="NAME", help="Whose PATH it is, as the service sees it.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_FILE,
    show_default=True,
    metavar="FILE",
    help="The manifest.",
)
def explain_request(method: str, path: str, name: str | None, file: Path) -> None:
    """Say which route decides METHOD PATH, what it requires, and why the others do not.

    Without --service PATH is as the gateway sees it, or of the only service there is.
    """
    manifest = read_manifest(file)
    if method != method.upper():
        raise click.UsageError(f"the method is written in capitals: {method.upper()}")
    try:
        # A shell's text; what is not ASCII would come over the wire as octets.
        raw_path, _ = split_target("".join(c if c.isascii() else _octets(c) for c in path).encode())
        service, inner = _whose(manifest, name, method, normal_path(raw_path))
        if service is None:
            click.echo(f"{method} {inner}\n  under the prefix of no service: nobody passes, 403")
            return
        _print(explain(service, method=method, raw_path=inner.encode()), outside=normal_path(raw_path), file=file)
    except AmbiguousPath as error:
        click.echo(f"{method} {path}\n  refused with 400 before any route is looked at: {error.description}")


@command.command("compile")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_FILE)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help="Where the files go; start Envoy with FOLDER/bootstrap.json.",
)
@click.option(
    "--patience", type=click.FloatRange(0, 60), default=5.0, show_default=True, help="Seconds to wait for issuers."
)
def compile_manifest(file: Path, out: Path, patience: float) -> None:
    """Compile FILE (portero.toml) to Envoy 1.40 configuration, with the keys and revocations of this moment.

    It does not stay fresh by itself: `portero gateway --engine envoy` runs Envoy with it, and with
    --deliver-to keeps it fresh for an Envoy that somebody else runs.
    """
    from portero.gateway.engines import Options
    from portero.gateway.envoy.run import compile_once

    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = Options(manifest_file=file, environ=os.environ)
    notes, missing = asyncio.run(compile_once(options, out.resolve(), patience=patience))
    click.echo(f"{file}: compiled to {out}")
    for note in notes:
        click.echo(f"note: {note}")
    for problem in missing:
        click.echo(f"missing: {problem}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema, for editors."""
    click.echo(manifest_schema(), nl=False)


def read_manifest(file: Path) -> Manifest:
    """Read a manifest for a command.

    Raises:
        ConfigurationError: it cannot be read, or is wrong (`ManifestError`).
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("FILE", str(file), f"must be a manifest ({error})") from None
    return parse_manifest(text, file=str(file))


def _whose(manifest: Manifest, name: str | None, method: str, path: str) -> tuple[Service | None, str]:
    """The service a path belongs to (`None`: nobody's), and the path as it sees it."""
    services = manifest.services
    known = ", ".join(services)
    if name is not None:
        if name not in services:
            raise click.UsageError(f"there is no service {name!r}; known here are {known}")
        return services[name], path
    if manifest.gateway is None:
        if len(services) > 1:
            raise click.UsageError(f"name the --service: {known}")
        return next(iter(services.values())), path
    rule = gateway_matcher(manifest).match(method, path)
    if isinstance(rule, Refusal) or not rule.service:
        return None, path
    prefix = manifest.gateway.prefix.get(rule.service, "")
    return services[rule.service], path[len(prefix) :] or "/"


def _print(told: Explanation, *, outside: str, file: Path) -> None:
    shown = f"{told.method} {told.path}" + (f"   (outside {outside})" if outside != told.path else "")
    click.echo(f"{shown}   service {told.service}")
    decided_by = f"{file}:{told.winner.line}: {told.winner.match!r}" if told.winner is not None else told.because
    click.echo(f"  decided by   {decided_by}")
    for number, line in enumerate(told.asks):
        click.echo(f"  {'asks for' if number == 0 else '':<12} {line}")
    if told.losers:
        click.echo("  other routes that match its path:")
        rows = [
            {"line": loser.route.line, "match": loser.route.match, "lost because it": loser.why}
            for loser in told.losers
        ]
        print_rows(rows, columns=("line", "match", "lost because it"), as_json=False, nothing="")


def _notes(manifest: Manifest) -> list[str]:
    notes = []
    for issuer in manifest.issuers.values():
        feed = issuer.revocation
        if feed is None:
            notes.append(f"tokens of [issuers.{issuer.name}] cannot be taken back: they live until exp")
        elif not os.environ.get(feed.secret_env):
            notes.append(f"the environment variable {feed.secret_env} is not set here; the services need it")
    for service in manifest.services.values():
        public = sum(route.access is Free.PUBLIC for route in service.routes)
        if public:
            notes.append(f"[services.{service.name}] has {_count(public, 'public route')}")
        if service.fallback.access is Free.PUBLIC:
            notes.append(f'[services.{service.name}] has default = "public": what is not named is open to everybody')
    return notes


def _octets(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in char.encode("utf-8", "surrogatepass"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
