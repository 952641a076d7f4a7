"""`portero user …`: the people who can sign in."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from portero.adapters.passwords.argon2 import LONGEST_PASSWORD, Argon2PasswordHasher
from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option, seconds
from portero.core.registration import MIN_PASSWORD, check_user, enable_user, register_user, set_password
from portero.core.sessions.ending import disable_user
from portero.core.transitions import Decision, SubjectAggregate, User, UsernameKey, UsersKey
from portero.core.types import Issuer, Secret, Subject

username_argument = click.argument("username")
stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input, not a prompt."
)


@click.group("user")
def command() -> None:
    """People who can sign in.

    Passwords come from a prompt or from standard input, never from the command line: other
    programs of the machine can read that.
    """


@command.command("add")
@username_argument
@click.option("--name", default="", help="The person's name, as pages and ID tokens show it.  [default: the username]")
@click.option("--email", default="", help="Their e-mail address.")
@click.option("--role", "roles", multiple=True, help="A role their access tokens carry. May be repeated.")
@stdin_option
@config_option
def add(
    username: str, name: str, email: str, roles: tuple[str, ...], password_stdin: bool, config_file: Path | None
) -> None:
    """Add a person; asks for the password."""
    password = _ask_password(username, from_stdin=password_stdin)

    async def work(desk: Desk) -> bool:
        user = User(
            # Not the name: names change, and are given to others later (OIDC Core §2: never reassigned).
            subject=Subject(desk.random.bytes(16).hex()),
            username=username,
            password_hash=None,
            name=name or username,
            email=email,
            roles=roles,
            created=desk.now(),
        )
        check_user(user)
        user = replace(user, password_hash=await Argon2PasswordHasher().hash(password))
        return await desk.commit(UsernameKey(username), partial(register_user, user=user), now=desk.now())

    if not at_desk(config_file, work, creates=True):
        raise click.ClickException(f"there is a user {username!r} already")
    click.echo(f"added {username}")


@command.command("list")
@json_option
@config_option
def list_users(as_json: bool, config_file: Path | None) -> None:
    """List everybody, by name."""

    async def work(desk: Desk) -> list[User]:
        users: list[User] = []
        while True:
            page = await desk.store.read(UsersKey(after=users[-1].username if users else ""))
            if not page:
                return users
            users += page

    rows = [
        {
            "username": user.username,
            "name": user.name,
            "email": user.email,
            "roles": list(user.roles),
            "enabled": user.enabled,
            "created": instant(user.created),
            "subject": user.subject,
        }
        for user in at_desk(config_file, work)
    ]
    columns = ("username", "name", "email", "roles", "enabled", "subject")
    print_rows(rows, columns=columns, as_json=as_json, nothing="nobody yet: portero user add NAME")


@command.command("passwd")
@username_argument
@stdin_option
@config_option
def passwd(username: str, password_stdin: bool, config_file: Path | None) -> None:
    """Change a password; ends every session the old one opened."""
    password = _ask_password(username, from_stdin=password_stdin)

    async def work(desk: Desk) -> bool:
        phc = await Argon2PasswordHasher().hash(password)
        now, config = desk.now(), desk.config
        iss, leeway = Issuer(config.issuer), seconds(config.revocation_margin)
        decide = partial(set_password, password_hash=phc, now=now, iss=iss, leeway=leeway)
        return await desk.commit(UsernameKey(username), decide, now=now)

    _told(at_desk(config_file, work), username, "changed the password of")


@command.command("disable")
@username_argument
@config_option
def disable(username: str, config_file: Path | None) -> None:
    """Let a person in no more, and end every session of theirs at once."""

    async def work(desk: Desk) -> bool:
        now, config = desk.now(), desk.config

        def decide(aggregate: SubjectAggregate) -> Decision[bool]:
            ending = disable_user(
                aggregate, now=now, iss=Issuer(config.issuer), leeway=seconds(config.revocation_margin)
            )
            return Decision(aggregate.user is not None, ending.writes, ending.events)

        return await desk.commit(UsernameKey(username), decide, now=now)

    _told(at_desk(config_file, work), username, "disabled")


@command.command("enable")
@username_argument
@config_option
def enable(username: str, config_file: Path | None) -> None:
    """Let a disabled person sign in again."""

    async def work(desk: Desk) -> bool:
        now = desk.now()
        return await desk.commit(UsernameKey(username), partial(enable_user, now=now), now=now)

    _told(at_desk(config_file, work), username, "enabled")


def _told(found: bool, username: str, done: str) -> None:
    if not found:
        raise click.ClickException(f"there is no user {username!r}")
    click.echo(f"{done} {username}")


def _ask_password(username: str, *, from_stdin: bool) -> Secret[str]:
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        text = click.prompt(f"Password for {username}", hide_input=True, confirmation_prompt=True)
    else:
        raise click.UsageError("no terminal to ask for the password: use --password-stdin")
    if len(text) < MIN_PASSWORD or len(text.encode()) > LONGEST_PASSWORD:
        raise click.ClickException(f"a password has {MIN_PASSWORD} characters to {LONGEST_PASSWORD} bytes")
    return Secret(text)
