"""`portero sessions …`: who is signed in where, and ending it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option, seconds
from portero.core.sessions.ending import Ended, decide_end_session, end_everything_of
from portero.core.sessions.records import EndReason
from portero.core.transitions import SessionKey, SessionsKey, UsernameKey
from portero.core.types import Issuer, Sid


@click.group("sessions")
def command() -> None:
    """Who is signed in where. One session is one browser or device in one application."""


@command.command("list")
@click.option("--user", "username", help="Of this person only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@json_option
@config_option
def list_sessions(username: str | None, limit: int, as_json: bool, config_file: Path | None) -> None:
    """List live sessions, the newest use first."""

    async def work(desk: Desk) -> list[dict[str, object]]:
        subject = None
        if username is not None:
            user = (await desk.store.read(UsernameKey(username))).user
            if user is None:
                raise click.ClickException(f"there is no user {username!r}")
            subject = user.subject
        return [
            {
                "sid": session.sid,
                "subject": session.subject,
                "client_id": session.client_id,
                "device": session.device_name,
                "place": session.place,
                "created": instant(session.created),
                "last_seen": instant(session.last_seen),
                "idle_end": instant(session.idle_end),
                "absolute_end": instant(session.absolute_end),
            }
            for session in await desk.store.read(SessionsKey(subject=subject, limit=limit))
        ]

    columns = ("sid", "client_id", "device", "place", "last_seen", "subject")
    print_rows(at_desk(config_file, work), columns=columns, as_json=as_json, nothing="nobody is signed in")


@command.command("end", context_settings={"ignore_unknown_options": True})  # a session may be named -Yc…
@click.argument("sids", metavar="[SID]...", nargs=-1)
@click.option("--user", "username", help="Everything of this person: sign out everywhere.")
@config_option
def end(sids: tuple[str, ...], username: str | None, config_file: Path | None) -> None:
    """End sessions: their tokens stop working everywhere at once."""
    if bool(sids) is bool(username):
        raise click.UsageError("name sessions, or a person with --user; not both")

    async def work(desk: Desk) -> Ended:
        now, iss, leeway = desk.now(), Issuer(desk.config.issuer), seconds(desk.config.revocation_margin)
        if username:
            if (await desk.store.read(UsernameKey(username))).user is None:
                raise click.ClickException(f"there is no user {username!r}")
            reason = EndReason.SIGNED_OUT_EVERYWHERE
            decide = partial(end_everything_of, reason=reason, now=now, iss=iss, leeway=leeway)
            return await desk.commit(UsernameKey(username), decide, now=now)
        ended: Ended = ()
        for sid in sids:
            one = partial(decide_end_session, reason=EndReason.OPERATOR, now=now, iss=iss, leeway=leeway)
            ended += await desk.commit(SessionKey(Sid(sid)), one, now=now)
        return ended

    ended = at_desk(config_file, work)
    for session in ended:
        click.echo(f"ended {session.sid} ({session.client_id}, {session.device_name or 'no device name'})")
    missing = set(sids) - {session.sid for session in ended}
    if missing:
        raise click.ClickException(f"no live session: {', '.join(sorted(missing))}")
    if not ended:
        click.echo("nothing was live")
