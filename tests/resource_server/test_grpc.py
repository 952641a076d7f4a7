"""The interceptor of `grpc.server`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from portero.resource_server import Guard
from portero.resource_server.grpc import GuardInterceptor, current_principal
from tests.resource_server.grpc_laws import (
    GrpcLaws,
    requirements,
    test_a_name_that_is_no_full_method_name_is_a_configuration_error,
    text,
)

__all__ = ["test_a_name_that_is_no_full_method_name_is_a_configuration_error"]


@contextmanager
def serve(guard: Guard, reached: list[str]) -> Iterator[int]:
    never = threading.Event()

    def who(_request: bytes, _context: Any) -> bytes:
        reached.append("Who")
        return text(current_principal().subject)

    def public(_request: bytes, _context: Any) -> bytes:
        try:
            return text(current_principal().subject)
        except LookupError:
            return b"nobody"

    def count(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        reached.append("Count")
        if int(request) < 0:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "counts up only")
        for n in range(int(request)):
            yield text(f"{current_principal().subject} {n}")

    def wait(_request: bytes, _context: Any) -> Iterator[bytes]:
        yield text(current_principal().subject)
        never.wait(20)

    def total(requests: Iterator[bytes], _context: Any) -> bytes:
        found = 0
        for request in requests:
            reached.append("Sum")
            found += int(request)
        return text(f"{current_principal().subject} {found}")

    def echo(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
        reached.append("Echo")
        for request in requests:
            yield text(f"{current_principal().subject} {request.decode()}")

    handlers = {
        **{name: grpc.unary_unary_rpc_method_handler(who) for name in ("Who", "Refund", "Fresh", "Unnamed")},
        "Public": grpc.unary_unary_rpc_method_handler(public),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    with ThreadPoolExecutor(16) as pool:
        server = grpc.server(pool, interceptors=[GuardInterceptor(guard, **requirements(guard))])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Orders", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            never.set()
            server.stop(None).wait(60)
            guard.close()


class TestGrpc(GrpcLaws):
    serve = staticmethod(serve)
