"""The demo's authorization server: `portero serve` with the shop's people and clients, and a movable clock."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import replace

from examples.shop.settings import (
    AFIP_SERVICE,
    CLIENT_ID,
    FEED_CLIENT_ID,
    INVENTORY,
    LOGIN_CLIENT_ID,
    ORDERS,
    PEOPLE,
    SHIPPING,
    WEB_CLIENT_ID,
    Settings,
)
from portero.adapters.telemetry.json_log import LOGGER, configure_logging
from portero.authorization_server.config import load_config
from portero.authorization_server.context import Context
from portero.authorization_server.server import serve
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
from portero.testing.afip import ClaveFiscalServer
from portero.testing.shared_clock import SharedClock

SCOPES = ("openid", "profile", "orders:read", "orders:write", "inventory:read", "shipping:read")


LOGIN_SECRET = "SHOP_LOGIN_SECRET"


def write_config(shop: Settings) -> None:
    """The settings as an operator would write them."""
    lines = {
        "issuer": shop.issuer,
        "host": "127.0.0.1",
        "port": shop.authorization_port,
        "database": "portero.db",
        "secrets_file": "portero.secrets",
        "scopes": [*SCOPES, "revocations:read"],
        "brand_name": "Portero",
    }
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
    shop.config_file.write_text(f"[authorization_server]\n{text}\n{ways_to_sign_in(shop)}")


def ways_to_sign_in(shop: Settings) -> str:
    """The password, and who else vouches."""
    if shop.login == "password":
        return ""
    if shop.login == "oidc":
        return f"""
[sign_in.password]
[sign_in.openid.acme]
issuer = "{shop.vouching}"
label = "Acme"
client_id = "{LOGIN_CLIENT_ID}"
client_secret_env = "{LOGIN_SECRET}"
"""
    return f"""
[sign_in.password]
[sign_in.clave_fiscal]
service = "{AFIP_SERVICE}"
login_url = "{shop.vouching}/contribuyente_/login.xhtml?action=SYSTEM&system={AFIP_SERVICE}"
[[sign_in.clave_fiscal.sources]]
src = "{ClaveFiscalServer().src}"
key_file = "{shop.afip_certificate.name}"
algorithm = "RS1"
"""


async def register_people(context: Context) -> None:
    """The demo's people, with their passwords."""
    now = context.now()
    for person in PEOPLE:
        user = User(
            subject=Subject(context.random.bytes(8).hex()),
            username=person.username,
            password_hash=await context.passwords.hash(Secret(person.password)),
            name=person.name,
            email=f"{person.username}@shop.example",
            roles=person.roles,
            created=now,
        )
        check_user(user)
        await context.store.transition(
            UsernameKey(person.username), lambda aggregate, user=user: register_user(aggregate, user=user), now=now
        )


async def seed(context: Context, shop: Settings) -> None:
    """Two people, the page by itself and by cookie, and the client with which the services follow the feed."""
    now = context.now()
    await register_people(context)
    page = Client(
        client_id=ClientId(CLIENT_ID),
        client_name="The shop",
        client_type=ClientType.PUBLIC,
        token_endpoint_auth_method="none",
        secret_digest=None,
        redirect_uris=(f"{shop.page}/callback",),
        post_logout_redirect_uris=(f"{shop.page}/",),
        grant_types=("authorization_code", "refresh_token"),
        scope=SCOPES,
        audiences=(ORDERS, INVENTORY, SHIPPING),
        refresh_profile=RefreshProfile.ATTEMPT,
        rotation=RotationPolicy.ALWAYS,
        require_pkce=True,
        first_party=True,
        allowed_origins=(shop.page,),
        created=now,
    )
    services = replace(
        page,
        client_id=ClientId(FEED_CLIENT_ID),
        client_name="The shop's services",
        client_type=ClientType.CONFIDENTIAL,
        token_endpoint_auth_method="client_secret_basic",
        secret_digest=sha256_of(Secret(shop.feed_secret)),
        redirect_uris=(),
        post_logout_redirect_uris=(),
        grant_types=("client_credentials",),
        scope=("revocations:read",),
        audiences=(shop.issuer,),
        allowed_origins=(),
    )
    web = replace(
        services,
        client_id=ClientId(WEB_CLIENT_ID),
        client_name="The shop, by cookie",
        secret_digest=sha256_of(Secret(shop.session_secret)),
        redirect_uris=(f"{shop.page}/session/callback",),
        grant_types=page.grant_types,
        scope=page.scope,
        audiences=page.audiences,
        backchannel_logout_uri=f"{shop.page}/session/back-channel-logout",
    )
    for client in (page, services, web):
        check_client(client)
        await context.store.transition(
            ClientKey(client.client_id),
            lambda aggregate, client=client: register_client(aggregate, client=client),
            now=now,
        )


async def main() -> None:
    shop = Settings.load()
    write_config(shop)
    configure_logging()
    # Each refresh too: the check reads them there, where no page can see them.
    logging.getLogger(LOGGER).setLevel(logging.DEBUG)
    os.environ[LOGIN_SECRET] = shop.session_secret
    config = load_config(shop.config_file, environ={})
    await serve(
        config,
        listening=lambda url: print(f"listening on {url}", flush=True),
        clock=SharedClock(shop.clock_file),
        prepare=lambda context: seed(context, shop),
    )


if __name__ == "__main__":
    asyncio.run(main())
