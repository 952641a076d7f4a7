"""The Guard as a server interceptor for `grpc.aio.server`; as `grpc`, with coroutines.

    interceptor = GuardInterceptor(guard, requirement=guard.requires(scopes=["orders:read"]))
    server = grpc.aio.server(interceptors=[interceptor])

Handlers are coroutines or async generators; plain functions, which grpc.aio would run in a
thread, are refused for streams: nothing could end them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc
import grpc.aio

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.core.policy.requirement import Requirement
from portero.core.types import Secret
from portero.resource_server.grpc import (
    CODES,
    NOT_NAMED,
    Methods,
    current_principal,
    presented_in,
    principal_variable,
    received_token,
    token_of_metadata,
    token_variable,
)
from portero.resource_server.guard import Guard

__all__ = ["GuardInterceptor", "current_principal", "received_token"]


class GuardInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Checks every RPC of a server.

    Args:
        guard: the service's Guard.
        requirement, methods, public: as `portero.resource_server.grpc.Methods`.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        requirement: Requirement | None = None,
        methods: Mapping[str, Requirement] | None = None,
        public: Iterable[str] = (),
    ) -> None:
        self._guard = guard
        self._methods = Methods(requirement=requirement, methods=methods, public=public)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Check one RPC."""
        method = handler_call_details.method
        if self._methods.is_public(method):
            return await continuation(handler_call_details)
        outcome = await self._outcome(handler_call_details)
        if isinstance(outcome, Refusal):
            return self._refusal(outcome)
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        principal_variable.set(outcome)
        if handler.request_streaming or handler.response_streaming:
            return self._watched(handler, outcome)
        return handler

    async def _outcome(self, details: Any) -> Principal | Refusal:
        requirement = self._methods.requirement_of(details.method)
        if requirement is None:
            token = token_of_metadata(details.invocation_metadata)
            return token if isinstance(token, Refusal) else NOT_NAMED
        presented = presented_in(self._guard, details, requirement, memo={})
        if isinstance(presented, Refusal):
            return presented
        token_variable.set(Secret(presented.token.decode("latin-1")))
        return await self._guard.check(presented.token, requirement, presented.sender)

    def _refusal(self, refusal: Refusal) -> Any:
        async def refuse(_requests: Any, context: grpc.aio.ServicerContext) -> None:
            await self._abort(context, refusal)

        # Of the kind that waits for no message, which serves every kind of client.
        return grpc.stream_stream_rpc_method_handler(refuse)

    async def _abort(self, context: grpc.aio.ServicerContext, refusal: Refusal) -> None:
        written = self._guard.grpc_refusal(refusal)
        await context.abort(CODES[written.status.value], written.details, written.metadata)

    def _watched(self, handler: Any, principal: Principal) -> Any:
        """The same handler, ended when the token is."""
        behaviour = handler.stream_stream or handler.stream_unary or handler.unary_stream
        coding = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }

        async def serve(request: Any, context: grpc.aio.ServicerContext) -> Any:
            result = behaviour(request, context)
            if hasattr(result, "__aiter__"):
                async for response in result:
                    await context.write(response)
                return None
            if not hasattr(result, "__await__"):
                raise TypeError("a guarded streaming handler must be a coroutine or an async generator")
            return await result

        async def until_over(request: Any, context: grpc.aio.ServicerContext) -> Any:
            over: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
            watched = self._guard.watch(principal, over.set_result)
            served = asyncio.ensure_future(serve(request, context))
            try:
                await asyncio.wait({served, over}, return_when=asyncio.FIRST_COMPLETED)
                if served.done():
                    return served.result()
            finally:
                watched.forget()
                served.cancel()
            await asyncio.wait({served})
            await self._abort(context, over.result())
            return None

        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(until_over, **coding)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(until_over, **coding)
        return grpc.unary_stream_rpc_method_handler(until_over, **coding)
