"""`portero client …`: the applications that ask for tokens."""

from __future__ import annotations

import base64
import json
from functools import partial
from pathlib import Path

import click

from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option, seconds
from portero.core.digests import sha256_of
from portero.core.registration import GRANT_TYPES, check_client, enable_client, register_client, set_direct_sign_in
from portero.core.sessions.ending import disable_client
from portero.core.transitions import (
    Client,
    ClientKey,
    ClientsKey,
    ClientType,
    RefreshProfile,
    RotationPolicy,
)
from portero.core.types import ClientId, Issuer, Secret

GRANTS = {name.rpartition(":")[2]: name for name in GRANT_TYPES}
"""What is typed → `grant_type`: the last word of a URN is enough."""

PLAIN_WARNING = (
    "profile plain: this client's lost answers look like theft. With 10 % of answers lost, 7 % to 100 % of honest "
    "users are signed out within six hours. Let it send refresh_attempt, and register it without --profile plain."
)

client_id_argument = click.argument("client_id", metavar="CLIENT_ID")


@click.group("client")
def command() -> None:
    """Applications that ask for tokens."""


@command.command("add")
@client_id_argument
@click.option("--public/--confidential", default=False, help="Public: a page or an app, which can keep no secret.")
@click.option("--name", default="", help="What people read when it asks them.  [default: the client id]")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where a sign-in returns to, exactly. Repeatable.")
@click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, help="Where a sign-out does.")
@click.option("--grant", "grant_types", multiple=True, type=click.Choice(list(GRANTS)), help="[default: by the rest]")
@click.option("--scope", "scopes", multiple=True, help="A scope it may ask for. Repeatable.")
@click.option("--audience", "audiences", multiple=True, help="A service its access tokens are for, as URI. Repeatable.")
@click.option("--origin", "origins", multiple=True, help="A browser origin that may call /token (CORS). Repeatable.")
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in RefreshProfile]),
    default=RefreshProfile.ATTEMPT.value,
    show_default=True,
    help="How a public client proves a repeated refresh; plain: it cannot.",
)
@click.option(
    "--rotation",
    type=click.Choice([policy.value for policy in RotationPolicy]),
    default=RotationPolicy.ALWAYS.value,
    show_default=True,
    help="When its refresh token is replaced; near_end for bound tokens only.",
)
@click.option("--auth-method", type=click.Choice(["client_secret_basic", "client_secret_post", "private_key_jwt"]))
@click.option(
    "--jwks",
    "jwks_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its public JWK Set, for private_key_jwt.",
)
@click.option("--dpop-bound", is_flag=True, help="All its tokens are bound to a DPoP key (RFC 9449).")
@click.option("--first-party", is_flag=True, help="One of our own: people are not asked for consent.")
@click.option(
    "--direct-sign-in", is_flag=True, help="It may ask for name and password itself; with --first-party only."
)
@click.option("--pkce/--no-pkce", default=True, help="PKCE is optional for confidential clients only.  [default: pkce]")
@click.option("--backchannel-logout-uri", default=None, help="Where it is told of sign-outs.")
@json_option
@config_option
def add(
    client_id: str,
    public: bool,
    name: str,
    redirect_uris: tuple[str, ...],
    post_logout_redirect_uris: tuple[str, ...],
    grant_types: tuple[str, ...],
    scopes: tuple[str, ...],
    audiences: tuple[str, ...],
    origins: tuple[str, ...],
    profile: str,
    rotation: str,
    auth_method: str | None,
    jwks_file: Path | None,
    dpop_bound: bool,
    first_party: bool,
    direct_sign_in: bool,
    pkce: bool,
    backchannel_logout_uri: str | None,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Register a client; prints the secret of a confidential one, once.

    \b
      portero client add shop --public --redirect-uri https://shop.example/callback \\
          --origin https://shop.example --scope openid --scope orders:read
      portero client add orders --scope revocations:read
    """
    if public and auth_method:
        raise click.UsageError("a public client has no --auth-method: it cannot keep a secret")
    if (auth_method == "private_key_jwt") is not (jwks_file is not None):
        raise click.UsageError("--auth-method private_key_jwt and --jwks FILE go together")
    method = "none" if public else auth_method or "client_secret_basic"
    signs_in = public or bool(redirect_uris)
    with_secret = method.startswith("client_secret")
    jwks = None if jwks_file is None else _jwk_set(jwks_file)

    async def work(desk: Desk) -> Secret[str] | None:
        secret = Secret(base64.urlsafe_b64encode(desk.random.bytes(32)).rstrip(b"=").decode())
        client = Client(
            client_id=ClientId(client_id),
            client_name=name or client_id,
            client_type=ClientType.PUBLIC if public else ClientType.CONFIDENTIAL,
            token_endpoint_auth_method=method,
            secret_digest=sha256_of(secret) if with_secret else None,
            redirect_uris=redirect_uris,
            post_logout_redirect_uris=post_logout_redirect_uris,
            grant_types=tuple(GRANTS[name] for name in grant_types)
            or (GRANT_TYPES[:2] if signs_in else GRANT_TYPES[2:3]),
            scope=scopes or (("openid", "profile", "email") if signs_in else ()),
            audiences=audiences,
            refresh_profile=RefreshProfile(profile),
            rotation=RotationPolicy(rotation),
            require_pkce=pkce,
            first_party=first_party,
            allowed_origins=origins,
            jwks=jwks,
            backchannel_logout_uri=backchannel_logout_uri,
            dpop_bound_access_tokens=dpop_bound,
            direct_sign_in=direct_sign_in,
            created=desk.now(),
        )
        check_client(client)
        decide = partial(register_client, client=client)
        added = await desk.commit(ClientKey(client.client_id), decide, now=desk.now())
        if not added:
            raise click.ClickException(f"there is a client {client_id!r} already")
        return secret if with_secret else None

    secret = at_desk(config_file, work, creates=True)
    if public and RefreshProfile(profile) is RefreshProfile.PLAIN:
        click.echo(PLAIN_WARNING, err=True)
    shown = None if secret is None else secret.reveal()
    if as_json:
        click.echo(json.dumps({"client_id": client_id, "client_secret": shown}))
        return
    click.echo(f"added {client_id}")
    if shown is not None:
        click.echo(f"client secret, shown this once: {shown}")


@command.command("list")
@json_option
@config_option
def list_clients(as_json: bool, config_file: Path | None) -> None:
    """List all clients."""

    async def work(desk: Desk) -> tuple[Client, ...]:
        return await desk.store.read(ClientsKey())

    rows = [
        {
            "client_id": client.client_id,
            "name": client.client_name,
            "type": client.client_type.value,
            "grant_types": list(client.grant_types),
            "redirect_uris": list(client.redirect_uris),
            "scope": list(client.scope),
            "audiences": list(client.audiences),
            "allowed_origins": list(client.allowed_origins),
            "token_endpoint_auth_method": client.token_endpoint_auth_method,
            "refresh_profile": client.refresh_profile.value,
            "rotation": client.rotation.value,
            "require_pkce": client.require_pkce,
            "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
            "direct_sign_in": client.direct_sign_in,
            "first_party": client.first_party,
            "enabled": client.enabled,
            "created": instant(client.created),
        }
        for client in at_desk(config_file, work)
    ]
    columns = ("client_id", "type", "grant_types", "scope", "redirect_uris", "enabled")
    print_rows(rows, columns=columns, as_json=as_json, nothing="no clients yet: portero client add --help")


@command.command("disable")
@client_id_argument
@config_option
def disable(client_id: str, config_file: Path | None) -> None:
    """Shut a client out: no new tokens, and its access tokens stop working everywhere at once."""

    async def work(desk: Desk) -> bool:
        now, config = desk.now(), desk.config
        decide = partial(
            disable_client,
            now=now,
            iss=Issuer(config.issuer),
            leeway=seconds(config.revocation_margin),
            access_token_lifetime=seconds(config.access_token_lifetime),
        )
        return await desk.commit(ClientKey(ClientId(client_id)), decide, now=now) is not None

    if not at_desk(config_file, work):
        raise click.ClickException(f"there is no client {client_id!r}")
    click.echo(f"disabled {client_id}")


@command.command("enable")
@client_id_argument
@config_option
def enable(client_id: str, config_file: Path | None) -> None:
    """Let a disabled client in again; services may refuse its tokens for some minutes more."""

    async def work(desk: Desk) -> bool:
        now = desk.now()
        decide = partial(enable_client, now=now)
        return await desk.commit(ClientKey(ClientId(client_id)), decide, now=now)

    if not at_desk(config_file, work):
        raise click.ClickException(f"there is no client {client_id!r}")
    click.echo(f"enabled {client_id}")


@command.command("direct-sign-in")
@client_id_argument
@click.argument("switch", metavar="on|off", type=click.Choice(["on", "off"]))
@config_option
def direct_sign_in(client_id: str, switch: str, config_file: Path | None) -> None:
    """Let a client of your own ask for name and password itself, or stop it; servers follow within a second.

    Whoever signed in that way before stays signed in.
    """

    async def work(desk: Desk) -> bool:
        now = desk.now()
        decide = partial(set_direct_sign_in, allowed=switch == "on", now=now)
        return await desk.commit(ClientKey(ClientId(client_id)), decide, now=now)

    if not at_desk(config_file, work):
        raise click.ClickException(f"there is no client {client_id!r}")
    click.echo(f"direct sign-in of {client_id} is {switch}")


def _jwk_set(file: Path) -> str:
    try:
        document = json.loads(file.read_bytes())
        keys = document["keys"]
    except OSError as error:
        raise click.ClickException(f"--jwks {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise click.ClickException('--jwks must be a JWK Set: {"keys": [...]}') from None
    if not isinstance(keys, list) or not keys or any(key.keys() & {"d", "k", "p", "q"} for key in keys):
        raise click.ClickException("--jwks must hold public keys, at least one, and no private one")
    return json.dumps(document)
