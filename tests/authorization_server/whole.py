"""Both halves of one server in memory: what a browser visits, and what clients call."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

from starlette.applications import Starlette

from portero.adapters.keys.secrets_file import make_secrets
from portero.authorization_server.config import Config
from portero.authorization_server.endpoints import routes
from portero.authorization_server.key_ring import open_key_ring
from portero.authorization_server.pages.routes import browser_routes
from portero.core.digests import sha256_of
from portero.core.transitions import Client, ClientType
from portero.core.types import ClientId, Secret
from tests.authorization_server.browser.harness import SHOP, STRANGER, Answer, Browser, Server

SECRET = "a secret of this test"
WEB = replace(
    SHOP,
    client_id=ClientId("web"),
    client_name="Web",
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=sha256_of(Secret(SECRET)),
    require_pkce=False,
)


class WholeServer(Server):
    """As `Server`, with the back channel."""

    def __init__(self, *clients: Client, config: Config | None = None, real_keys: bool = False) -> None:
        super().__init__(*(clients or (SHOP, STRANGER, WEB)), config=config)
        if real_keys:
            secrets = make_secrets(random=self.context.random)
            opening = open_key_ring(
                self.context.config,
                store=self.store,
                secrets=secrets,
                clock=self.clock,
                random=self.context.random,
            )
            self.context = replace(self.context, key_ring=asyncio.run(opening), tag_keys=secrets.tag_keys)
        self.app = Starlette(routes=[*browser_routes(self.context), *routes(self.context)])

    def post(self, path: str, form: dict[str, str], *, client: Client | None = WEB, **headers: str) -> Answer:
        """Call an endpoint, authenticated as a client with `SECRET`; None: with nothing."""
        if client is not None and client.secret_digest is not None:
            headers["authorization"] = basic(client.client_id, SECRET)
        return Browser(self).post(path, form, **headers)


def basic(client_id: str, secret: str) -> str:
    """Credentials without characters that would need encoding."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret.replace(' ', '+')}".encode()).decode()
