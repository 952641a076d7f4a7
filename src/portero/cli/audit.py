"""`portero audit`: what happened that somebody may ask about later, the newest first."""

from __future__ import annotations

from pathlib import Path

import click

from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option
from portero.core.transitions import AuditKey, UsernameKey


@click.command("audit")
@click.option("--user", "username", help="Of this person only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@json_option
@config_option
def command(username: str | None, limit: int, as_json: bool, config_file: Path | None) -> None:
    """List the audit trail, the newest first: sign-ins, ends of sessions and why, thefts noticed, changes.

    Refreshes are not in it: counters at /metrics tell of those.
    """

    async def work(desk: Desk) -> list[dict[str, object]]:
        subject = None
        if username is not None:
            user = (await desk.store.read(UsernameKey(username))).user
            if user is None:
                raise click.ClickException(f"there is no user {username!r}")
            subject = user.subject
        return [
            {
                "at": instant(event.at),
                "event": event.name.value,
                "subject": event.subject,
                "client_id": event.client_id,
                "sid": event.sid,
                "details": " ".join(f"{name}={value}" for name, value in sorted(event.fields.items())),
                "fields": dict(event.fields),
            }
            for event in await desk.store.read(AuditKey(subject=subject, limit=limit))
        ]

    rows = at_desk(config_file, work)
    if as_json:
        # For programs the fields themselves; the text is for people.
        rows = [{name: value for name, value in row.items() if name != "details"} for row in rows]
    columns = ("at", "event", "subject", "client_id", "sid", "details")
    print_rows(rows, columns=columns, as_json=as_json, nothing="nothing happened yet")
