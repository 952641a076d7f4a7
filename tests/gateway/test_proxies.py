"""What a peer says about others counts where the manifest names that peer, and nowhere else (attack row 76)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.gateway.engines import PATIENCE, read_answer
from tests.gateway.upstream import Seen
from tests.gateway.world import World, start

PROXY, OTHER = "127.0.0.2", "127.0.0.1"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SAID = {
    "x-forwarded-for": "192.0.2.9",
    "x-forwarded-proto": "https",
    "x-request-id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
    "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
}


@pytest.fixture(scope="module")
def behind(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway that knows one proxy."""
    folder = tmp_path_factory.mktemp(f"{engine}-proxies")
    world = start(engine, folder, extra=f'trusted_proxies = ["{PROXY}"]')
    yield world
    world.close()


def seen_from(world: World, address: str) -> Seen:
    """What the service sees of a request with all of `SAID`, sent from an address of this machine."""
    lines = [f"{name}: {value}" for name, value in SAID.items()]
    raw = "\r\n".join(["GET /api/health HTTP/1.1", "Host: gateway.test", *lines]) + "\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.gateway.port), PATIENCE, (address, 0)) as connection:
        connection.sendall(raw.encode())
        assert read_answer(connection).status == 200
    return world.orders.seen[-1]


def first(seen: Seen, header: str) -> str:
    (value,) = seen.values(header)
    return value.split(",")[0]


@pytest.mark.attack(row=76)
def test_a_named_proxy_is_believed(behind: World) -> None:
    """Who calls, by which scheme, and the names of the request and its trace."""
    seen = seen_from(behind, PROXY)

    assert first(seen, "x-forwarded-for") == "192.0.2.9"
    assert seen.values("x-forwarded-proto") == ["https"]
    assert seen.values("x-request-id") == [SAID["x-request-id"]]
    assert TRACE in first(seen, "traceparent")


@pytest.mark.attack(row=76)
def test_nobody_else_is(behind: World) -> None:
    """Not even through the log: every name there is the gateway's own."""
    seen = seen_from(behind, OTHER)

    assert seen.values("x-forwarded-for") == [OTHER]
    assert seen.values("x-forwarded-proto") == ["http"]
    assert seen.values("x-request-id") != [SAID["x-request-id"]]
    assert TRACE not in "".join(seen.values("traceparent"))
    (request_id,) = seen.values("x-request-id")
    log = behind.gateway.wait_for_log(request_id.encode()).decode()
    (line,) = [json.loads(one) for one in log.splitlines() if request_id in one]
    assert line["client"] == OTHER
