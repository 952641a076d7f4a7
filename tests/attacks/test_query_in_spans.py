"""Row 81: a token in the query of a request was shown to whoever reads the spans.

Envoy names its spans' URL by the whole path, query included, and sends them to a collector.
"""

from __future__ import annotations

import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.gateway.engines import PATIENCE
from tests.gateway.world import start

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ENOUGH = 6
"""Envoy sends its spans on when there are so many."""


class Collector(grpc.GenericRpcHandler):
    """Takes spans in, as bytes."""

    def __init__(self) -> None:
        self.told = b""
        self.came = threading.Event()

    def service(self, handler_call_details: Any) -> Any:
        assert handler_call_details.method == EXPORT

        def exported(request: bytes, _: grpc.ServicerContext) -> bytes:
            self.told += request
            self.came.set()
            return b""

        return grpc.unary_unary_rpc_method_handler(exported)


@pytest.mark.attack(row=81)
@pytest.mark.parametrize("path", ["/api/orders/5", "/api/recent"], ids=["envoy decides", "the guard decides"])
def test_a_span_says_where_and_not_what_was_asked(tmp_path: Path, path: str) -> None:
    """The path, never the query; and the trace goes on at the service."""
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((collector,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    world = start("envoy", tmp_path, extra=f'otlp = "http://127.0.0.1:{port}"')
    try:
        token = world.token()
        for _ in range(ENOUGH):
            world.gateway.request(
                "GET", f"{path}?q=query-mark&access_token={token}", headers={"user-agent": "agent-mark"}
            )
        assert world.gateway.request("GET", path, token=token).status == 200
        assert collector.came.wait(PATIENCE)
    finally:
        world.close()
        server.stop(None).wait(PATIENCE)

    assert path.removeprefix("/api").encode() in collector.told
    assert b"agent-mark" in collector.told
    assert b"query-mark" not in collector.told
    assert token.split(".")[0].encode() not in collector.told
    assert len(world.orders.seen[-1].values("traceparent")) == 1
