"""`portero demo`: a server that keeps nothing, with somebody to sign in and a client to ask for tokens."""

from __future__ import annotations

import base64
import os
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from portero.authorization_server.config import Config, check_config
from portero.core.digests import sha256_of
from portero.core.registration import check_client, check_user, register_client, register_user
from portero.core.transitions import (
    Client,
    ClientKey,
    ClientType,
    RefreshProfile,
    RotationPolicy,
    User,
    UsernameKey,
)
from portero.core.types import ClientId, Secret, Subject

if TYPE_CHECKING:
    from portero.authorization_server.context import Context

USERNAME, PASSWORD = "ana", "cafe-con-leche"
SERVICE = "demo-service"
PAGE = "demo-page"
AUDIENCE = "https://demo.example/api"


@click.command("demo")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0: a free one.")
@click.option("--callback", default="http://127.0.0.1:8080/callback", show_default=True, help="Of the demo page.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep the database in this folder.")
def command(port: int, callback: str, keep: Path | None) -> None:
    """Run a throw-away server on this machine, with a user and two clients.

    It listens on loopback only, and forgets everything when it stops (but with --keep). The whole
    story, with services and a page, is `make demo` in a source tree.
    """
    from portero.authorization_server.server import bind, run

    # The issuer names the port, so a free one has to be known before anything starts.
    with bind("127.0.0.1", port) as probe:
        port = probe.getsockname()[1]
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    with nullcontext(str(keep)) if keep is not None else tempfile.TemporaryDirectory(prefix="portero-demo-") as folder:
        config = replace(
            Config(),
            issuer=f"http://localhost:{port}",
            port=port,
            database=str(Path(folder) / "portero.db"),
            secrets_file=Path(folder) / "portero.secrets",
        )
        check_config(config)
        secret = Secret(base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode())
        run(
            config,
            listening=lambda _address: click.echo(_instructions(config, callback, secret)),
            prepare=partial(_people_and_clients, callback=callback, secret=secret),
        )
        click.echo("stopped", err=True)


async def _people_and_clients(context: Context, *, callback: str, secret: Secret[str]) -> None:
    now = context.now()
    user = User(
        subject=Subject(context.random.bytes(16).hex()),
        username=USERNAME,
        password_hash=await context.passwords.hash(Secret(PASSWORD)),
        name="Ana Gómez",
        email="ana@demo.example",
        roles=("customer",),
        created=now,
    )
    check_user(user)
    await context.store.transition(UsernameKey(USERNAME), partial(register_user, user=user), now=now)
    page = Client(
        client_id=ClientId(PAGE),
        client_name="Demo page",
        client_type=ClientType.PUBLIC,
        token_endpoint_auth_method="none",
        secret_digest=None,
        redirect_uris=(callback,),
        post_logout_redirect_uris=(),
        grant_types=("authorization_code", "refresh_token"),
        scope=("openid", "profile", "email"),
        audiences=(AUDIENCE,),
        refresh_profile=RefreshProfile.ATTEMPT,
        rotation=RotationPolicy.ALWAYS,
        require_pkce=True,
        first_party=True,
        allowed_origins=("{0.scheme}://{0.netloc}".format(urlsplit(callback)),),
        created=now,
    )
    service = replace(
        page,
        client_id=ClientId(SERVICE),
        client_name="Demo service",
        client_type=ClientType.CONFIDENTIAL,
        token_endpoint_auth_method="client_secret_basic",
        secret_digest=sha256_of(secret),
        redirect_uris=(),
        grant_types=("client_credentials",),
        scope=("revocations:read",),
        audiences=(AUDIENCE, context.config.issuer),
        allowed_origins=(),
    )
    for client in (page, service):
        check_client(client)
        decide = partial(register_client, client=client)
        await context.store.transition(ClientKey(client.client_id), decide, now=now)


def _instructions(config: Config, callback: str, secret: Secret[str]) -> str:
    issuer = config.issuer
    # The password and the secret are printed on purpose: this server is for this machine, and for now.
    return f"""\
Portero demo: {issuer} (Ctrl-C stops it and forgets everything)

  Sign in and see your devices   {issuer}/account
  As                             {USERNAME} / {PASSWORD}
  Discovery                      {issuer}/.well-known/openid-configuration

A token for a service (client credentials):

  curl -s {issuer}/token -u {SERVICE}:{secret.reveal()} \\
    -d grant_type=client_credentials -d scope=revocations:read

A page can use client_id={PAGE} (public, PKCE) with redirect_uri={callback}
and call services as audience {AUDIENCE}.
"""
