"""What the gateway answers by itself leads nowhere else, and empty lines cost it nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import SupportsIndex

import pytest

from portero.core.policy.manifest_gateway import KEYS_PATH
from portero.gateway.embedded.client_side import ClientConnection
from portero.testing.jwks_server import JwksServer
from tests.gateway.embedded.conftest import AUDIENCE, ENVIRON, World, write_manifest
from tests.gateway.embedded.running import RunningGateway, Upstream

METADATA = "/.well-known/oauth-protected-resource/api"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    upstream = Upstream()
    with JwksServer(audience=AUDIENCE, heartbeat=0.2) as issuer:
        manifest = write_manifest(tmp_path_factory.mktemp("gateway"), issuer, upstream.port, layout="gateway")
        with RunningGateway(manifest, ENVIRON) as running:
            yield World(issuer, upstream, running)
    upstream.close()


@pytest.mark.attack(row=83)
@pytest.mark.parametrize("path", [METADATA, KEYS_PATH])
@pytest.mark.parametrize("query", ["", "?GET /admin/1 HTTP/1.1"])
def test_options_of_a_document_reach_no_service(gateway: World, path: str, query: str) -> None:
    """They were taken for a public route that has no request line: the service read the caller's own words as one."""
    assert gateway.ask("GET", path).status == 200

    answer = gateway.ask("OPTIONS", path + query.replace(" ", "%20"))

    assert answer.status == 403
    assert gateway.upstream.seen == []
    assert gateway.upstream.broken == []


@pytest.mark.attack(row=83)
def test_a_preflight_of_a_document_is_answered(gateway: World) -> None:
    """A page may still ask whether it may read the document."""
    asks = ("Origin: https://shop.test", "Access-Control-Request-Method: GET")

    answer = gateway.ask("OPTIONS", METADATA, *asks)

    assert answer.status == 204
    assert answer.header("access-control-allow-origin") == "https://shop.test"


class Copied(bytes):
    """Bytes that count what is copied of them."""

    total = 0

    def __getitem__(self, key: SupportsIndex | slice) -> Copied:  # type: ignore[override]
        assert isinstance(key, slice)
        piece = Copied(super().__getitem__(key))
        Copied.total += len(piece)
        return piece


def test_empty_lines_before_a_request_are_read_once() -> None:
    """Taken off one by one, each step copying the rest, a few megabits a second of them kept a worker busy."""
    lines = Copied(b"\r\n" * 4096)
    connection = ClientConnection.__new__(ClientConnection)

    connection.heads(lines)

    assert Copied.total <= len(lines)
