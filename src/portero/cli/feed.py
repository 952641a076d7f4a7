"""`portero feed …`: what was taken back and still matters, taking back one token, and the relay of a host."""

from __future__ import annotations

from pathlib import Path

import click

from portero.cli.manifest import DEFAULT_FILE
from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option, seconds
from portero.core.events import Event, EventName
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.transitions import Audit, Decision, FeedSizeKey, ReplayKey, Revoke
from portero.core.types import Digest, Issuer, NumericDate


@click.group("feed")
def command() -> None:
    """The revocation feed: how large it is; take one access token back; hand it to the services of this host."""


@command.command("status")
@json_option
@config_option
def status(as_json: bool, config_file: Path | None) -> None:
    """Say how many revocations still matter, and until when."""

    async def work(desk: Desk) -> list[dict[str, object]]:
        size = await desk.store.read(FeedSizeKey(desk.now()))
        until = instant(size.until) if size.live else None
        return [
            {"epoch": size.epoch, "head": size.head, "live": size.live, "waiting_for_removal": size.stored - size.live}
            | {"until": until}
        ]

    rows = at_desk(config_file, work)
    print_rows(rows, columns=("epoch", "head", "live", "waiting_for_removal", "until"), as_json=as_json, nothing="")


@command.command("revoke-token")
@click.argument("jti")
@config_option
def revoke_token(jti: str, config_file: Path | None) -> None:
    """Take back one access token by its `jti`. Its session goes on: a refresh brings another."""
    if not 0 < len(jti) <= 256 or not jti.isprintable():
        raise click.UsageError("a jti is 1 to 256 printable characters")

    async def work(desk: Desk) -> NumericDate:
        now, config = desk.now(), desk.config
        # It may have been issued this very second.
        until = NumericDate(now + seconds(config.access_token_lifetime + config.revocation_margin))
        event = Event(EventName.TOKEN_REVOKED, now, fields={"jti": jti})
        revocation = Revocation(Issuer(config.issuer), RevokedKind.TOKEN, jti, now, until)
        nothing = ReplayKey(Digest(bytes(32)))
        return await desk.commit(nothing, lambda _: Decision(until, (Revoke(revocation), Audit(event))), now=now)

    until = at_desk(config_file, work)
    click.echo(f"taken back until {instant(until)}, when the youngest token has expired everywhere")


@command.command("relay")
@click.option(
    "--manifest",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_FILE,
    show_default=True,
    help="Names the issuers, and how their feeds are followed.",
)
@click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    help="The socket's path.  [default: the manifest's `relay`, where its issuers agree]",
)
@click.option("--group", help="A group whose members may follow too.  [default: only this user]")
def relay(file: Path, path: Path | None, group: str | None) -> None:
    """Follow the feeds of the manifest's issuers, and hand them to this host's services over a Unix socket.

    A service whose issuer says `revocation = { relay = "/run/portero/feed.sock", … }` asks the relay
    first, and the issuer itself where the relay is not there. Runs until SIGTERM or Ctrl-C.
    """
    # The other commands of the group need none of it.
    from portero.cli.feed_relay import run_relay

    run_relay(file, path=path, group=group)
