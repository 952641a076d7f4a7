"""How long each phase may take on Envoy, how many may come, and servers that are not there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from portero.testing.jwks_server import JwksServer
from portero.testing.ports import free_port
from tests.gateway.engines import PATIENCE, Answer, Running, read_answer
from tests.gateway.upstream import RecordingUpstream
from tests.gateway.world import ORDERS, STOCK, World, manifest_text

CONNECTIONS = 5
EXTRA = f"""limits = {{ connections = {CONNECTIONS} }}
timeouts = {{ headers = "1s", request = "1s", connect = "1s", response = "3s" }}
retries = 0
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway that has no patience, and beside the usual services two whose servers are ill."""
    with ExitStack() as stack:
        server = stack.enter_context(JwksServer(audience=ORDERS))
        orders, stock = RecordingUpstream("orders"), RecordingUpstream("stock")
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            # Its queue is full: further connections are neither accepted nor refused.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        services = f"""
[services.deaf]
audience = "{STOCK}"
upstreams = ["http://127.0.0.1:{deaf.getsockname()[1]}"]
default = "public"
[services.half]
audience = "{STOCK}"
upstreams = ["http://127.0.0.1:{free_port()}", "{stock.url}"]
health = "/health"
default = "public"
[gateway]
"""
        text = manifest_text(server.url, orders.url, stock.url, extra=EXTRA).replace("[gateway]\n", services)
        text = text.replace("prefix = { ", 'prefix = { deaf = "/deaf", half = "/half", ')
        world = World(server, orders, stock, Running("envoy", tmp_path_factory.mktemp("short"), text))
        try:
            world.gateway.wait_until_ready()
            yield world
        finally:
            world.close()


def begun(world: World, raw: str) -> Answer:
    """A request that never ends."""
    with socket.create_connection(("127.0.0.1", world.gateway.port), PATIENCE) as connection:
        connection.sendall(raw.encode())
        return read_answer(connection)


def test_every_phase_has_its_time(short: World) -> None:
    """Head and body of the request, the connection to a server and its answer: each with a problem document."""
    slow = threading.Event()
    short.orders.hold(slow)
    token = short.token(scope="files:write orders:read")
    head = (
        f"POST /api/files/slow-body HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\nx"
    )
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(begun, short, "GET /api/orders/1 HTTP/1.1\r\nHost: a\r\n"),
            pool.submit(begun, short, head),
            pool.submit(short.gateway.request, "GET", "/deaf/connect"),
            pool.submit(short.gateway.request, "GET", "/api/orders/slow-answer", token=token),
        ]
        answers = [one.result() for one in asked]
    slow.set()

    assert [answer.status for answer in answers] == [408, 408, 504, 504]
    assert [answer.problem["status"] for answer in answers] == [408, 408, 504, 504]
    log = short.gateway.wait_for_log(b"slow-answer").decode()
    reasons = {line["path"]: line["reason"] for line in map(json.loads, filter(is_line, log.splitlines()))}
    assert reasons[None] == reasons["/api/files/slow-body"] == "request_timeout"
    assert reasons["/deaf/connect"] == "connect_timeout"
    assert reasons["/api/orders/slow-answer"] == "upstream_timeout"


def is_line(text: str) -> bool:
    return text.startswith("{")


def test_a_server_that_is_ill_is_not_asked(short: World) -> None:
    """Its health was asked before the first request; the other one answers all of them."""
    assert {short.gateway.request("GET", f"/half/{number}").status for number in range(8)} == {200}


def test_no_more_connections_than_there_may_be(short: World) -> None:
    """Those that are there go on; what comes beyond is closed, and there is room again when one goes."""
    with ExitStack() as stack:

        def answered() -> bool:
            """A further connection, kept when it is served."""
            connection = socket.create_connection(("127.0.0.1", short.gateway.port), PATIENCE)
            connection.sendall(b"GET /half/x HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                served = read_answer(connection).status == 200
            except OSError:
                served = False
            stack.callback(connection.close)
            return served

        served = [answered() for _ in range(CONNECTIONS + 3)]
        assert True in served
        assert served.count(True) <= CONNECTIONS
        assert not served[-1]
    while not begun(short, "GET /half/x HTTP/1.1\r\nHost: a\r\n\r\n").status:
        pass
