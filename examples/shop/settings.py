"""Where the demo's programs listen and what they call each other; handed to each as JSON in `SHOP`."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

ORDERS = "https://shop.example/orders"
INVENTORY = "https://shop.example/inventory"
SHIPPING = "https://shop.example/shipping"

CLIENT_ID = "shop-page"
AFIP_SERVICE = "tienda"
LOGIN_CLIENT_ID = "portero-demo"
FEED_CLIENT_ID = "shop-services"
WEB_CLIENT_ID = "shop-web"


@dataclass(frozen=True, slots=True)
class Person:
    """A demo user. The password is printed on purpose: the demo listens on loopback only."""

    username: str
    password: str
    name: str
    roles: tuple[str, ...]


PEOPLE = (
    Person("ana", "cafe-con-leche", "Ana Gómez", ("customer",)),
    Person("bruno", "mate-amargo", "Bruno Díaz", ("customer", "manager")),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """One run of the demo. Ports are of 127.0.0.1; names in URLs are `localhost`, so cookies are per app by name."""

    folder: str
    authorization_port: int
    orders_port: int
    inventory_port: int
    shipping_port: int
    page_port: int
    gateway_port: int
    gateway_admin_port: int
    login_port: int
    feed_secret: str
    session_secret: str
    layout: str = "middleware"
    engine: str = ""
    store: str = "memory"
    login: str = "password"

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.authorization_port}"

    @property
    def page(self) -> str:
        return f"http://localhost:{self.page_port}"

    @property
    def orders(self) -> str:
        return f"http://localhost:{self.orders_port}"

    @property
    def inventory(self) -> str:
        return f"http://localhost:{self.inventory_port}"

    @property
    def shipping(self) -> str:
        return f"http://localhost:{self.shipping_port}"

    @property
    def gateway(self) -> str:
        return f"http://localhost:{self.gateway_port}"

    @property
    def has_gateway(self) -> bool:
        return self.layout != "middleware"

    def called_at(self, service: str) -> str:
        """Where the page calls a service: by itself, or through the gateway."""
        return f"{self.gateway}/api/{service}-service" if self.has_gateway else str(getattr(self, service))

    @property
    def vouching(self) -> str:
        """Who vouches for people, where it is not the demo itself."""
        return f"http://localhost:{self.login_port}"

    @property
    def afip_certificate(self) -> Path:
        return self.path / "afip-emulador.pem"

    @property
    def manifest_file(self) -> Path:
        return self.path / "portero.toml"

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def clock_file(self) -> Path:
        return self.path / "clock"

    @property
    def config_file(self) -> Path:
        return self.path / "portero-server.toml"

    def seen_file(self, service: str) -> Path:
        """Where a service writes what it saw, a JSON line a request."""
        return self.path / f"{service}.seen"

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def load() -> Settings:
        """Read the settings this process was started with."""
        return Settings(**json.loads(os.environ["SHOP"]))


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
