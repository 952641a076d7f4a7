"""The interceptor of `grpc.aio.server`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from portero.resource_server import Guard
from portero.resource_server.grpc_aio import GuardInterceptor, current_principal
from tests.resource_server.grpc_laws import GrpcLaws, requirements, text


def handlers(reached: list[str]) -> dict[str, Any]:
    async def who(_request: bytes, _context: Any) -> bytes:
        reached.append("Who")
        return text(current_principal().subject)

    async def public(_request: bytes, _context: Any) -> bytes:
        try:
            return text(current_principal().subject)
        except LookupError:
            return b"nobody"

    async def count(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        reached.append("Count")
        if int(request) < 0:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "counts up only")
        for n in range(int(request)):
            yield text(f"{current_principal().subject} {n}")

    async def wait(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        yield text(current_principal().subject)
        await asyncio.Event().wait()

    async def total(requests: AsyncIterator[bytes], _context: Any) -> bytes:
        found = 0
        async for request in requests:
            reached.append("Sum")
            found += int(request)
        return text(f"{current_principal().subject} {found}")

    async def echo(_requests: Any, context: grpc.aio.ServicerContext) -> None:
        reached.append("Echo")
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(text(f"{current_principal().subject} {request.decode()}"))

    return {
        **{name: grpc.unary_unary_rpc_method_handler(who) for name in ("Who", "Refund", "Fresh", "Unnamed")},
        "Public": grpc.unary_unary_rpc_method_handler(public),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }


@contextmanager
def serve(guard: Guard, reached: list[str]) -> Iterator[int]:
    started = threading.Event()
    running: dict[str, Any] = {}

    async def main() -> None:
        server = grpc.aio.server(interceptors=[GuardInterceptor(guard, **requirements(guard))])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Orders", handlers(reached))])
        running.update(
            loop=asyncio.get_running_loop(), over=asyncio.Event(), port=server.add_insecure_port("127.0.0.1:0")
        )
        await server.start()
        started.set()
        await running["over"].wait()
        await server.stop(None)
        await guard.aclose()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield running["port"]
    finally:
        running["loop"].call_soon_threadsafe(running["over"].set)
        thread.join(60)


class TestGrpcAio(GrpcLaws):
    serve = staticmethod(serve)
