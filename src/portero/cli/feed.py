"""`portero feed …`: what was taken back and still matters, and taking back one token."""

from __future__ import annotations

from pathlib import Path

import click

from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option, seconds
from portero.core.events import Event, EventName
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.transitions import Audit, Decision, FeedSizeKey, ReplayKey, Revoke
from portero.core.types import Digest, Issuer, NumericDate


@click.group("feed")
def command() -> None:
    """The revocation feed: how large it is; take one access token back."""


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
        until = NumericDate(now + seconds(config.access_token_lifetime + config.leeway))
        event = Event(EventName.TOKEN_REVOKED, now, fields={"jti": jti})
        revocation = Revocation(Issuer(config.issuer), RevokedKind.TOKEN, jti, now, until)
        nothing = ReplayKey(Digest(bytes(32)))
        return await desk.commit(nothing, lambda _: Decision(until, (Revoke(revocation), Audit(event))), now=now)

    until = at_desk(config_file, work)
    click.echo(f"taken back until {instant(until)}, when the youngest token has expired everywhere")
