"""`portero whoami`: who is signed in on this machine, by the server's own word."""

from __future__ import annotations

import json

import click

from portero.cli.output import print_rows
from portero.cli.person import account_option, session_of
from portero.client.userinfo import ask_userinfo


@click.command("whoami")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@account_option
def command(as_json: bool, account: str) -> None:
    """Say who is signed in on this machine. Asks the server."""
    with session_of(account) as session:
        claims = ask_userinfo(session)
        info = session.token_info()
        config = session.config
    if as_json:
        click.echo(json.dumps({**claims, "issuer": config.issuer, "client_id": config.client_id}, ensure_ascii=False))
        return
    row = {
        "name": claims.get("name") or claims.get("preferred_username"),
        "subject": claims.get("sub"),
        "issuer": config.issuer,
        "client_id": config.client_id,
        "scope": None if info is None else info.scope,
    }
    print_rows([row], columns=tuple(row), as_json=False, nothing="")
