"""What stands around the gateway in the tests: an issuer, two recording services, a manifest with one of everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from portero.testing.jwks_server import CLIENT_ID, JwksServer
from tests.gateway.engines import Running
from tests.gateway.upstream import RecordingUpstream, Seen

ORDERS, STOCK = "https://shop.test/orders", "https://shop.test/stock"
PAGE = "https://page.test"


def manifest_text(issuer: str, orders: str, stock: str, *, layout: str = "hybrid", extra: str = "") -> str:
    """`/api` is the orders service, `/stock` the stock service, whose unnamed routes want any valid token."""
    return f"""
layout = "{layout}"
[issuers.main]
issuer = "{issuer}"
revocation = {{ client_id = "{CLIENT_ID}", secret_env = "FEED_SECRET" }}
[roles]
auditor = ["orders:audit"]

[services.orders]
audience = "{ORDERS}"
upstreams = ["{orders}"]
cors_origins = ["{PAGE}"]
cookie = {{ name = "access" }}
[[services.orders.routes]]
match = "GET /orders"
require = {{ scopes = ["orders:read"] }}
[[services.orders.routes]]
match = "GET /orders/{{id}}"
require = {{ scopes = ["orders:read"] }}
[[services.orders.routes]]
match = "POST /orders/{{id}}/refund"
require = {{ scopes = ["orders:write"], roles = ["manager"] }}
[[services.orders.routes]]
match = "GET /audit"
require = {{ scopes = ["orders:audit"] }}
[[services.orders.routes]]
match = "GET /admin"
require = {{ roles = ["admin"] }}
[[services.orders.routes]]
match = "* /files/{{path...}}"
require = {{ scopes_any = ["files:read", "files:write"] }}
[[services.orders.routes]]
match = "GET /by-cookie"
require = {{ scopes = ["orders:read"] }}
cookie = true
[[services.orders.routes]]
match = "GET /recent"
require = {{ max_auth_age = "10m" }}
[[services.orders.routes]]
match = "GET /strong"
require = {{ acr = ["phr"] }}
[[services.orders.routes]]
match = "GET /events"
stream = true
[[services.orders.routes]]
match = "GET /health"
public = true
[[services.orders.routes]]
match = "GET /caf\u00e9"
public = true

[services.stock]
audience = "{STOCK}"
upstreams = ["{stock}"]
default = "authenticated"
[[services.stock.routes]]
match = "GET /open/{{name}}"
public = true

[gateway]
listen = "{{listen}}"
admin = "{{admin}}"
prefix = {{ orders = "/api", stock = "/stock" }}
{extra}
"""


@dataclass
class World:
    """One gateway and what stands around it."""

    server: JwksServer
    orders: RecordingUpstream
    stock: RecordingUpstream
    gateway: Running

    def token(self, **changes: object) -> str:
        """A good token for the orders service; changed as said."""
        return self.server.issuer.mint(**{"aud": ORDERS, "scope": "orders:read", **changes})

    @property
    def seen(self) -> list[Seen]:
        """What both services saw."""
        return [*self.orders.seen, *self.stock.seen]

    def forget(self) -> None:
        """Begin a new record."""
        self.orders.forget()
        self.stock.forget()

    def close(self) -> None:
        self.gateway.stop()
        self.orders.close()
        self.stock.close()
        self.server.close()


def start(engine: str, folder: Path, *, layout: str = "hybrid", extra: str = "") -> World:
    """Start all of it."""
    server = JwksServer(audience=ORDERS).__enter__()
    orders, stock = RecordingUpstream("orders"), RecordingUpstream("stock")
    text = manifest_text(server.url, orders.url, stock.url, layout=layout, extra=extra)
    world = World(server, orders, stock, Running(engine, folder, text))
    try:
        world.gateway.wait_until_ready()
    except BaseException:
        world.close()
        raise
    return world
