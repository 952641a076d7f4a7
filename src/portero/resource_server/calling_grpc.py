"""Calling the next service by gRPC: client interceptors that add a source's token, sync and aio.

    channel = grpc.intercept_channel(channel, NextServiceInterceptor(lambda: exchange.on_behalf_of(received_token())))
    channel = grpc.aio.secure_channel(target, credentials, interceptors=aio_interceptors(source))

The channel's target is where the token goes: a source's own destination cannot be compared with
it, so give an interceptor to the channel of the service that the source is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio

from portero.core.types import Secret
from portero.resource_server.calling_flow import Source, source_of

__all__ = ["NextServiceInterceptor", "aio_interceptors"]


class _Details(NamedTuple):
    """The fields of `grpc.ClientCallDetails`."""

    method: Any
    timeout: Any
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class NextServiceInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc] # grpc has no types
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """For `grpc.intercept_channel`. An RPC whose token cannot be had is not sent: the error is the source's.

    Args:
        source: as for `NextServiceFlow`.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """One request, one answer."""
        source = source_of(self._source)
        call = continuation(_with_token(details, source.token()), request)
        call.add_done_callback(lambda done: _notice(source, done.code()))
        return call

    intercept_unary_stream = intercept_unary_unary
    intercept_stream_unary = intercept_unary_unary
    intercept_stream_stream = intercept_unary_unary


def aio_interceptors(source: Source) -> list[grpc.aio.ClientInterceptor]:
    """The interceptors of a `grpc.aio` channel, one for each kind of RPC, as grpc.aio wants them."""

    async def intercept(_: Any, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        chosen = source_of(source)
        token = await chosen.atoken()
        metadata = grpc.aio.Metadata(*(details.metadata or ()), ("authorization", "Bearer " + token.reveal()))
        call = await continuation(details._replace(metadata=metadata), request)

        async def notice() -> None:
            _notice(chosen, await call.code())

        # Even of a call that is done, grpc.aio tells the code to coroutines only.
        call.add_done_callback(lambda _: _kept_until_done(asyncio.ensure_future(notice())))
        return call

    kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    made = []
    for kind in kinds:
        base = getattr(grpc.aio, "".join(word.title() for word in kind.split("_")) + "ClientInterceptor")
        made.append(type("NextService", (base,), {f"intercept_{kind}": intercept})())
    return made


def _with_token(details: Any, token: Secret[str]) -> _Details:
    metadata = [*(details.metadata or ()), ("authorization", "Bearer " + token.reveal())]
    return _Details(
        details.method,
        details.timeout,
        metadata,
        details.credentials,
        getattr(details, "wait_for_ready", None),
        getattr(details, "compression", None),
    )


def _notice(source: Any, code: Any) -> None:
    if code is grpc.StatusCode.UNAUTHENTICATED:
        source.refused()


def _kept_until_done(task: asyncio.Task[None]) -> None:
    _noticing.add(task)
    task.add_done_callback(_noticing.discard)


_noticing: set[asyncio.Task[None]] = set()
"""An event loop holds its tasks weakly."""
