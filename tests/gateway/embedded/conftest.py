"""One issuer, one server and one gateway for all tests of the embedded engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from portero.testing.jwks_server import JwksServer
from tests.gateway.embedded.running import Answer, Caller, RunningGateway, Upstream

AUDIENCE = "https://service.test/api"
MANIFEST = """
layout = "{layout}"
[issuers.main]
issuer = "{issuer}"
revocation = {{ client_id = "service", secret_env = "FEED_SECRET" }}
[services.orders]
audience = "https://service.test/api"
upstreams = ["http://127.0.0.1:{upstream}"]
cors_origins = ["https://shop.test"]
routes = [
  {{ match = "* /orders/{{id}}", require = {{ scopes = ["orders:read"] }} }},
  {{ match = "* /behave/{{name...}}" }},
  {{ match = "GET /ws/{{name...}}", stream = true }},
  {{ match = "* /admin/{{rest...}}", require = {{ scopes = ["admin"] }} }},
  {{ match = "* /public/{{rest...}}", public = true }},
]
[gateway]
listen = "127.0.0.1:1"
keys_file = "gateway.keys"
prefix = {{ orders = "/api" }}
limits = {{ header_bytes = 8192, headers = 60, body_bytes = 1048576 }}
{more}
"""
ENVIRON = {"FEED_SECRET": "service-secret"}


@dataclass
class World:
    """Everything a test needs."""

    issuer: JwksServer
    upstream: Upstream
    gateway: RunningGateway

    @property
    def port(self) -> int:
        return self.gateway.port

    def token(self, **changes: Any) -> str:
        """A good token of this issuer, changed as said."""
        return self.issuer.issuer.mint(**changes)

    def head(self, method: str, path: str, *more: str, **changes: Any) -> bytes:
        """A request's head with a good token, without its empty line's end."""
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: gateway.test",
            f"Authorization: Bearer {self.token(**changes)}",
            *more,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def ask(self, method: str, path: str, *more: str, body: bytes = b"", **changes: Any) -> Answer:
        """One request on a connection of its own."""
        with Caller(self.port) as caller:
            caller.send(self.head(method, path, *more, **changes) + body)
            return caller.answer(method)

    def last(self) -> Any:
        """What the server saw last."""
        return self.upstream.seen[-1]


def write_manifest(folder: Path, issuer: JwksServer, upstream: int, *, layout: str = "hybrid", more: str = "") -> Path:
    """The manifest of these tests."""
    file = folder / "portero.toml"
    file.write_text(MANIFEST.format(layout=layout, issuer=issuer.url, upstream=upstream, more=more))
    return file


@pytest.fixture(scope="session")
def issuer() -> Iterator[JwksServer]:
    with JwksServer(audience=AUDIENCE, heartbeat=0.2) as server:
        yield server


@pytest.fixture(scope="session")
def one_world(issuer: JwksServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    upstream = Upstream()
    manifest = write_manifest(tmp_path_factory.mktemp("gateway"), issuer, upstream.port)
    with RunningGateway(manifest, ENVIRON) as gateway:
        yield World(issuer, upstream, gateway)
    upstream.close()


@pytest.fixture
def world(one_world: World) -> World:
    one_world.upstream.seen.clear()
    one_world.upstream.broken.clear()
    one_world.upstream.behaviours.clear()
    one_world.upstream.before_body.clear()
    return one_world


@pytest.fixture
def another(issuer: JwksServer, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Make a world with another manifest: `another(layout=…, more=…)`."""
    made: list[World] = []

    def make(*, upstream: Upstream | None = None, **changes: str) -> World:
        server = upstream or Upstream()
        gateway = RunningGateway(write_manifest(tmp_path, issuer, server.port, **changes), ENVIRON)
        gateway.__enter__()
        made.append(World(issuer, server, gateway))
        return made[-1]

    yield make
    for one in made:
        one.gateway.__exit__()
        one.upstream.close()
