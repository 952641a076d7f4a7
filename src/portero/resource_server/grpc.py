"""The Guard as a gRPC server interceptor, for `grpc.server`; the one for `grpc.aio.server` is `grpc_aio`.

    interceptor = GuardInterceptor(
        guard,
        methods={"/shop.Orders/List": guard.requires(scopes=["orders:read"])},
        public=["/grpc.health.v1.Health/Check"],
    )
    server = grpc.server(ThreadPoolExecutor(), interceptors=[interceptor])

The token comes as `authorization` metadata. A refusal is a status of the table (design §3.5)
with the challenge in the trailing metadata. The handler finds its caller by
`current_principal()`. A stream ends with UNAUTHENTICATED when its token expires or is revoked,
even while the handler waits: a streaming handler runs in a thread of its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from typing import Any, NoReturn

import grpc

from portero.core.errors import ConfigurationError
from portero.core.policy.credentials import token_of
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import EXPIRED, Case, Refusal
from portero.core.policy.requirement import Requirement
from portero.core.types import Secret
from portero.resource_server.guard import Guard
from portero.resource_server.received import ReceivedToken
from portero.resource_server.sender import NONCE, TOKEN, Presented, RequestSeen

CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
"""Status codes by number."""
NOT_NAMED = Refusal(Case.NOT_PERMITTED, "The caller may not do this.", detail="the method is not named")
principal_variable: ContextVar[Principal] = ContextVar("portero.principal")
token_variable: ContextVar[Secret[str]] = ContextVar("portero.token")


def current_principal() -> Principal:
    """Return the caller of the RPC that is being handled.

    Raises:
        LookupError: no Guard admitted it. A programming error, never the caller's.
    """
    try:
        return principal_variable.get()
    except LookupError:
        raise LookupError("no Guard admitted this RPC: is the method guarded?") from None


def received_token() -> ReceivedToken:
    """Return the token of the RPC that is being handled, to call the next service in its caller's name.

    Raises:
        LookupError: no Guard admitted it.
    """
    return ReceivedToken(token_variable.get(), current_principal())


class Methods:
    """Which method requires what.

    Args:
        requirement: for methods that are not named; `None` refuses them.
        methods: full method name (`/package.Service/Method`) → its own requirement.
        public: full names of methods that need no token.

    Raises:
        ConfigurationError: a name is not a full method name, or is named twice.
    """

    def __init__(
        self, *, requirement: Requirement | None, methods: Mapping[str, Requirement] | None, public: Iterable[str]
    ) -> None:
        self._requirement = requirement
        self._methods = dict(methods or {})
        self._public = frozenset(public)
        for name in (*self._methods, *self._public):
            if not name.startswith("/") or name.count("/") != 2:
                raise ConfigurationError("methods", name, "must be a full method name such as /shop.Orders/List")
        for name in self._public & self._methods.keys():
            raise ConfigurationError("public", name, "must not be a method that requires something")

    def is_public(self, method: str) -> bool:
        """Whether a method needs no token."""
        return method in self._public

    def requirement_of(self, method: str) -> Requirement | None:
        """What a method requires; `None`: nobody may call it."""
        return self._methods.get(method, self._requirement)


def token_of_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> bytes | Refusal:
    """Read the token out of an RPC's metadata."""
    return token_of(
        (name.encode("latin-1"), value.encode("latin-1", "replace") if isinstance(value, str) else value)
        for name, value in metadata
    )


def presented_in(
    guard: Guard, details: Any, requirement: Requirement, *, memo: dict[str, Any], context: Any = None
) -> Presented | Refusal:
    """Read the token out of an RPC, and what the RPC shows of its sender. A DPoP proof is for `POST` and the method."""
    metadata = details.invocation_metadata

    def header(wanted: str) -> str | None:
        found = [
            value.decode("latin-1") if isinstance(value, bytes) else value for name, value in metadata if name == wanted
        ]
        return ", ".join(found) if found else None

    def certificate() -> bytes | None:
        if context is None:
            return None
        found = context.auth_context().get("x509_pem_cert")
        return found[0] if found else None

    seen = RequestSeen(header=header, method="POST", path=details.method, memo=memo, certificate=certificate)
    return guard.presented(token_of_metadata(metadata), seen, requirement)


class GuardInterceptor(grpc.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Checks every RPC of a server.

    Args:
        guard: the service's Guard.
        requirement, methods, public: as `Methods`.
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

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Wrap one RPC's handler. The check itself waits for the handler's thread: this one serves everybody."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or self._methods.is_public(method):
            return handler
        requirement = self._methods.requirement_of(method)
        return _guarded(handler, _Admission(self._guard, handler_call_details, requirement))


class _Admission:
    """One RPC's token and what its method requires."""

    def __init__(self, guard: Guard, details: Any, requirement: Requirement | None) -> None:
        self.guard = guard
        self._details = details
        self._requirement = requirement
        self._memo: dict[str, Any] = {}

    def principal(self, context: grpc.ServicerContext) -> Principal:
        """Check, or end the RPC."""
        outcome = self._outcome(context)
        if isinstance(outcome, Refusal):
            self.abort(context, outcome)
        token_variable.set(self._memo[TOKEN])
        if NONCE in self._memo:
            context.set_trailing_metadata((("dpop-nonce", self._memo[NONCE]),))
        return outcome

    def abort(self, context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
        """End the RPC with a refusal."""
        written = self.guard.grpc_refusal(refusal)
        context.set_trailing_metadata(written.metadata)
        context.abort(CODES[written.status.value], written.details)
        raise AssertionError("abort() raises")

    def _outcome(self, context: grpc.ServicerContext) -> Principal | Refusal:
        if self._requirement is None:
            token = token_of_metadata(self._details.invocation_metadata)
            return token if isinstance(token, Refusal) else NOT_NAMED
        presented = presented_in(self.guard, self._details, self._requirement, memo=self._memo, context=context)
        if isinstance(presented, Refusal):
            return presented
        return self.guard.check_sync(presented.token, self._requirement, presented.sender)


def _guarded(handler: Any, admission: _Admission) -> Any:
    """The same handler behind a check, of the same kind."""
    coding = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }

    def unary_unary(request: Any, context: grpc.ServicerContext) -> Any:
        principal_variable.set(admission.principal(context))
        return handler.unary_unary(request, context)

    def unary_stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        return _until_over(lambda: handler.unary_stream(request, context), context, admission)

    def stream_unary(requests: Any, context: grpc.ServicerContext) -> Any:
        return next(_until_over(lambda: iter([handler.stream_unary(requests, context)]), context, admission))

    def stream_stream(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        return _until_over(lambda: handler.stream_stream(requests, context), context, admission)

    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(stream_stream, **coding)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(stream_unary, **coding)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(unary_stream, **coding)
    return grpc.unary_unary_rpc_method_handler(unary_unary, **coding)


def _until_over(
    begin: Callable[[], Iterator[Any]], context: grpc.ServicerContext, admission: _Admission
) -> Iterator[Any]:
    """Yield what the handler yields; end the RPC when its token is over, whatever the handler waits for."""
    principal = admission.principal(context)
    arrivals: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watched = admission.guard.connections.watch_in_thread(principal, arrivals.put)
    handler = _HandlerThread(begin, arrivals, principal)
    try:
        # Once more: it may have been revoked before it was watched.
        admission.principal(context)
        if not context.add_callback(lambda: arrivals.put(_Ended())):
            return
        handler.start()
        while True:
            handler.wanted.release()
            try:
                arrived = arrivals.get(timeout=max(0.0, admission.guard.seconds_left(principal)))
            except queue.Empty:
                arrived = EXPIRED
            match arrived:
                case _Yielded(value):
                    yield value
                case Refusal():
                    admission.abort(context, arrived)
                case _Ended(error):
                    if error is not None:
                        raise error
                    return
    finally:
        watched.forget()
        handler.stop()


class _Yielded:
    __match_args__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Ended:
    __match_args__ = ("error",)

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _HandlerThread(threading.Thread):
    """Runs a handler's iterator, one step each time it is `wanted`."""

    def __init__(
        self, begin: Callable[[], Iterator[Any]], arrivals: queue.SimpleQueue[Any], principal: Principal
    ) -> None:
        super().__init__(name="guarded gRPC stream", daemon=True)
        self.wanted = threading.Semaphore(0)
        self._begin = begin
        self._arrivals = arrivals
        self._principal = principal
        self._stopped = False
        self._context = copy_context()

    def run(self) -> None:
        """Run in the RPC's own context, so that the handler finds what other interceptors left there."""
        self._context.run(self._steps)

    def stop(self) -> None:
        """Let the handler notice at its next step; one that waits for requests is woken by gRPC."""
        self._stopped = True
        self.wanted.release()

    def _steps(self) -> None:
        principal_variable.set(self._principal)
        error: BaseException | None = None
        try:
            self.wanted.acquire()
            for value in self._begin():
                self._arrivals.put(_Yielded(value))
                self.wanted.acquire()
                if self._stopped:
                    break
        except BaseException as raised:  # handed to the thread that serves the RPC, whatever it is
            error = raised
        self._arrivals.put(_Ended(error))
