"""`portero login`: sign in on this machine, with a browser here or a code that is typed elsewhere."""

from __future__ import annotations

import webbrowser

import click

from portero.cli.person import STORES, Profile, account_option, recall, remember
from portero.client.errors import ClientError
from portero.client.sign_in.browser import PATIENCE, sign_in_with_browser
from portero.client.sign_in.device import DevicePrompt, sign_in_on_device


@click.command("login")
@click.option("--issuer", help="The authorization server.  [default: that of the last login]")
@click.option("--client-id", help="The name the server knows this program by.  [default: portero-cli]")
@click.option("--scope", "scopes", multiple=True, help="What to ask for. Repeatable.  [default: openid profile email]")
@click.option("--resource", "resources", multiple=True, help="A service the token is for, as URI. Repeatable.")
@click.option("--device", is_flag=True, help="Without a browser here: show a code to type on another device.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where the browser comes back to.  [default: any]"
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=PATIENCE, show_default=True, help="Seconds to wait for you."
)
@click.option("--store", type=click.Choice(STORES), help="Where the tokens lie.  [default: file]")
@click.option("--dpop", is_flag=True, help="Bind the tokens to a key of this machine (RFC 9449).")
@account_option
def command(
    issuer: str | None,
    client_id: str | None,
    scopes: tuple[str, ...],
    resources: tuple[str, ...],
    device: bool,
    no_browser: bool,
    port: int,
    timeout: float,
    store: str | None,
    dpop: bool,
    account: str,
) -> None:
    """Sign in on this machine. `portero token` then prints a token that is always good.

    The server must know this program; once, on the server:

    \b
      portero client add portero-cli --public --first-party \\
          --redirect-uri http://127.0.0.1/callback --scope openid --scope profile --scope email \\
          --grant authorization_code --grant refresh_token --grant device_code
    """
    profile = _profile(issuer, client_id, scopes, resources, store, dpop=dpop, account=account)
    with profile.open() as session:
        try:
            if device:
                sign_in_on_device(session, show=_show)
            else:
                sign_in_with_browser(
                    session, open_url=_print if no_browser else _open_or_print, port=port, timeout=timeout
                )
        except ClientError as error:
            raise click.ClickException(f"not signed in: {error}") from None
        except OSError as error:
            raise click.ClickException(f"port {port}: {error.strerror or error}") from None
        remember(profile)
        info = session.token_info()
        name = "" if info is None or info.sub is None else f" as {info.sub}"
    click.echo(f"signed in{name} at {profile.issuer}")


def _profile(
    issuer: str | None,
    client_id: str | None,
    scopes: tuple[str, ...],
    resources: tuple[str, ...],
    store: str | None,
    *,
    dpop: bool,
    account: str,
) -> Profile:
    known = recall(account) if issuer is None else Profile(issuer, "portero-cli", account)
    scope = " ".join(scopes) or known.scope or "openid profile email"
    return Profile(
        issuer=known.issuer,
        client_id=client_id or known.client_id,
        account=account,
        store=store or known.store,
        scope=scope,
        resources=resources or known.resources,
        dpop=dpop or known.dpop,
    )


def _show(prompt: DevicePrompt) -> None:
    minutes = max(1, round(prompt.expires_in / 60))
    click.echo(f"On any device, open  {prompt.verification_uri}", err=True)
    click.echo(f"and type the code    {prompt.user_code}", err=True)
    click.echo(f"Waiting for you, {minutes} minutes at most. Ctrl-C stops.", err=True)


def _print(url: str) -> None:
    click.echo(f"Open this in a browser of this machine:\n\n  {url}\n", err=True)


def _open_or_print(url: str) -> None:
    if webbrowser.open(url):
        click.echo("The sign-in page is open in your browser. Waiting for you. Ctrl-C stops.", err=True)
    else:
        _print(url)
