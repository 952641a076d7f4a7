"""One of a service's servers is gone: callers notice nothing, and their connections go on."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from portero.testing.ports import free_port
from tests.gateway.engines import PATIENCE
from tests.gateway.test_faults import until
from tests.gateway.world import World, manifest_text, start


@pytest.fixture
def half(engine: str, tmp_path: Path) -> Iterator[World]:
    """Every second request of the stock service goes to a server that is not there."""
    world = start(engine, tmp_path)
    text = manifest_text(world.server.url, world.orders.url, world.stock.url)
    gone = f'"http://127.0.0.1:{free_port()}"'
    world.gateway.write(
        text.replace(f'upstreams = ["{world.stock.url}"]', f'upstreams = [{gone}, "{world.stock.url}"]')
    )
    world.gateway.stop()
    world.gateway.start_again()
    yield world
    world.close()


def test_a_connection_goes_on_after_another_server_was_tried(half: World) -> None:
    """Also where the second server's connection was kept: each of its requests is read and answered."""
    connection = http.client.HTTPConnection("127.0.0.1", half.gateway.port, timeout=PATIENCE)
    statuses = []
    for number in range(6):
        connection.request("GET", f"/stock/open/{number}")
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()

    assert statuses == [200] * 6
    assert [seen.target for seen in half.stock.seen] == [f"/open/{number}" for number in range(6)]
    until(lambda: b"portero_gateway_connections 0\n" in half.gateway.ask("/metrics")[1])
