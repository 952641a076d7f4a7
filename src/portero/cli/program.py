"""`portero`: the commands by name, each loaded when it is called, and how failures are told.

Exit codes: 0 done, 1 failed, 2 not understood (usage). A failure is one clear line on standard
error; a trace is shown for what is a bug of ours only.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from portero.core.errors import PorteroError

DONE, FAILED, USAGE = 0, 1, 2


class LazyGroup(click.Group):
    """A group that knows its commands' names and summaries, and imports a command's module when it is called."""

    def __init__(self, *args: Any, lazily: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazily = lazily

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which tells a story; click's own order is the alphabet's."""
        return list(self._lazily)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self._lazily:
            return None
        module, _ = self._lazily[cmd_name]
        command: click.Command = importlib.import_module(f"portero.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names and summaries from the table: help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._lazily.items()])


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from portero.cli.version import version

        click.echo(f"portero {version()}")
        context.exit()


COMMANDS = {
    "serve": ("serve", "Run the authorization server."),
    "demo": ("demo", "Run a throw-away server with a user and a client, and say how to use it."),
    "user": ("users", "People who can sign in: add, list, passwd, disable, enable."),
    "client": ("clients", "Applications that ask for tokens: add, list, disable, enable."),
    "sessions": ("sessions", "Who is signed in where: list, end."),
    "audit": ("audit", "What happened, the newest first."),
    "feed": ("feed", "What was taken back: status, revoke-token, and relay to this host's services."),
    "keys": ("keys", "Signing keys and secrets: list, rotate."),
    "restore": ("restore", "After a backup was put back: take back again what it does not know of."),
    "manifest": ("manifest", "Routes and what they require: check, explain, compile, schema."),
    "gateway": ("gateway", "Run the gateway in front of the manifest's services."),
    "login": ("login", "Sign in on this machine, with a browser or a code."),
    "logout": ("logout", "Sign out on this machine."),
    "whoami": ("whoami", "Who is signed in on this machine."),
    "token": ("token", "Print an access token that is good now."),
    "afip": ("afip", "AFIP (ARCA): tickets for programs (WSAA), and an emulator."),
    "doctor": ("doctor", "Check a configuration from end to end, and say how to mend it."),
}


@click.command(
    cls=LazyGroup,
    lazily=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from --config FILE, $PORTERO_CONFIG or ./portero-server.toml; without any, the defaults "
    "make a server for this machine only.",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show it.")
def program() -> None:
    """Portero signs people in, keeps one session per device, and takes tokens back.

    A first run:

    \b
      portero user add ana
      portero client add shop --public --redirect-uri http://localhost:8080/callback
      portero serve
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        # click's own exit codes come back as values when it is not standalone.
        code = program.main(args=list(arguments), prog_name="portero", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return FAILED
    except PorteroError as error:
        # One line, also where a database's own message has several.
        click.echo(f"portero: {' '.join(str(error).split())}", err=True)
        return FAILED
    except BrokenPipeError:
        # The reader (`head`) has seen enough. Nothing more is written, not even at exit.
        sys.stdout = None
        return FAILED
    return code if isinstance(code, int) else DONE
