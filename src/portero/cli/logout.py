"""`portero logout`: sign out on this machine."""

from __future__ import annotations

import click

from portero.cli.person import account_option, session_of
from portero.client.machine import State


@click.command("logout")
@account_option
def command(account: str) -> None:
    """Sign out on this machine, for every program that uses this sign-in; then tell the server."""
    with session_of(account) as session:
        was_in = session.state is not State.SIGNED_OUT
        session.sign_out()
    click.echo("signed out" if was_in else "nobody was signed in")
