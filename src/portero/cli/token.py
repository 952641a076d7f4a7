"""`portero token`: an access token that is good now, for another program."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from portero.cli.person import account_option, session_of


@click.command("token")
@click.option("--info", is_flag=True, help="Lives and ages as JSON, and no token.")
@click.option("--refresh", is_flag=True, help="A new one, even where the one we have is still good.")
@account_option
def command(info: bool, refresh: bool, account: str) -> None:
    """Print an access token, refreshed if that is needed.

    \b
      curl -H "Authorization: Bearer $(portero token)" https://api.example/orders
    """
    with session_of(account) as session:
        if refresh:
            session.refresh()
        token = session.access_token()
        known = session.token_info()
    if info:
        click.echo(json.dumps({} if known is None else asdict(known), indent=2, ensure_ascii=False, default=str))
        return
    click.echo(token.reveal())
