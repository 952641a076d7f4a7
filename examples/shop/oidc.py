"""Somebody else's OpenID provider, for the demo: a second Portero, with people of its own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from examples.shop.authorization import register_people
from examples.shop.settings import LOGIN_CLIENT_ID, Settings
from portero.adapters.telemetry.json_log import configure_logging
from portero.authorization_server.config import load_config
from portero.authorization_server.context import Context
from portero.authorization_server.server import serve
from portero.core.digests import sha256_of
from portero.core.registration import check_client, register_client
from portero.core.transitions import Client, ClientKey, ClientType, RefreshProfile, RotationPolicy
from portero.core.types import ClientId, Secret
from portero.testing.shared_clock import SharedClock


async def seed(context: Context, shop: Settings) -> None:
    """The same two people, and the demo's server as a client."""
    await register_people(context)
    client = Client(
        client_id=ClientId(LOGIN_CLIENT_ID),
        client_name="Portero, the demo",
        client_type=ClientType.CONFIDENTIAL,
        token_endpoint_auth_method="client_secret_basic",
        secret_digest=sha256_of(Secret(shop.session_secret)),
        redirect_uris=(f"{shop.issuer}/sign-in/openid/acme/callback",),
        post_logout_redirect_uris=(),
        grant_types=("authorization_code",),
        scope=("openid", "profile", "email"),
        audiences=(),
        refresh_profile=RefreshProfile.ATTEMPT,
        rotation=RotationPolicy.ALWAYS,
        require_pkce=True,
        first_party=True,
        created=context.now(),
    )
    client = replace(client, backchannel_logout_uri=f"{shop.issuer}/sign-in/openid/acme/backchannel-logout")
    check_client(client)
    await context.store.transition(
        ClientKey(client.client_id), lambda aggregate: register_client(aggregate, client=client), now=context.now()
    )


async def main() -> None:
    shop = Settings.load()
    lines = {
        "issuer": shop.vouching,
        "host": "127.0.0.1",
        "port": shop.login_port,
        "database": "acme.db",
        "secrets_file": "acme.secrets",
        "brand_name": "Acme",
        "brand_color": "#7a3fb0",
    }
    file = shop.path / "acme-server.toml"
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
    file.write_text(f"[authorization_server]\n{text}\n")
    configure_logging()
    await serve(
        load_config(file, environ={}),
        listening=lambda url: print(f"listening on {url}", flush=True),
        clock=SharedClock(shop.clock_file),
        prepare=lambda context: seed(context, shop),
    )


if __name__ == "__main__":
    asyncio.run(main())
