"""`Auth` for httpx2 and httpx, sync and async: the one thing an application adds to its client.

http = httpx2.Client(auth=Auth(session))
http.get("https://api.example/orders")
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import httpx2

from portero.client.errors import ClientError, NotReplayableError, RefreshUnavailable, StepUpRequired
from portero.client.replay import is_replayable
from portero.client.sender import Answer, Outgoing, Send
from portero.client.session import Session
from portero.client.tokens import Tokens
from portero.core.errors import ConfigurationError

if TYPE_CHECKING or importlib.util.find_spec("httpx") is None:
    _Base = httpx2.Auth
else:
    import httpx

    # Each of the two clients accepts only its own.
    _Base = type("_Base", (httpx2.Auth, httpx.Auth), {})


class Auth(_Base):
    """Sends a session's token to the allowed origins; on a 401 refreshes once, and repeats what can be repeated.

    Safe for threads, and for asyncio. No lock is held while a request is on its way: a slow answer, or one that
    streams for hours, keeps nobody waiting.

    Raises (from the client's own calls):
        SignInRequired, RefreshUnavailable, NotReplayableError, StepUpRequired.
    """

    def __init__(self, session: Session) -> None:
        if not session.config.allowed_origins:
            raise ConfigurationError("allowed_origins", (), "name the services that get the token: https://api.example")
        self._session = session

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """One call in a thread."""
        call = self._session.call(_outgoing(request))
        response: Any = None
        try:
            step = next(call)
            while True:
                if isinstance(step, Send):
                    _set(request, step)
                    response = yield request
                    step = call.send(_answer(response))
                    continue
                try:
                    tokens = self._session.await_flight(step)
                except ClientError as error:
                    step = call.throw(error)
                else:
                    step = call.send(tokens)
        except StopIteration:
            return
        except (NotReplayableError, StepUpRequired) as error:
            response.read()
            _attach(error, response)
            raise
        finally:
            self._tidy(call, request)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """One call in an event loop."""
        call = self._session.call(_outgoing(request))
        response: Any = None
        try:
            step = next(call)
            while True:
                if isinstance(step, Send):
                    _set(request, step)
                    response = yield request
                    step = call.send(_answer(response))
                    continue
                try:
                    tokens = await self._await_flight(step)
                except ClientError as error:
                    step = call.throw(error)
                else:
                    step = call.send(tokens)
        except StopIteration:
            return
        except (NotReplayableError, StepUpRequired) as error:
            await response.aread()
            _attach(error, response)
            raise
        finally:
            self._tidy(call, request)

    async def _await_flight(self, flight: Future[Tokens]) -> Tokens:
        # Who is cancelled here leaves; the flight goes on (`Refresher.refresh` made it uncancellable).
        try:
            return await asyncio.wait_for(asyncio.wrap_future(flight), self._session.patience)
        except TimeoutError:
            raise RefreshUnavailable("timeout") from None

    def _tidy(self, call: Generator[Any, Any, None], request: Any) -> None:
        call.close()
        if request.extensions.pop("portero", False):
            # What is looked at, logged or sent again later carries no token of ours.
            for name in ("Authorization", "DPoP"):
                request.headers.pop(name, None)
        self._session.tell()

    def __repr__(self) -> str:
        return f"Auth({self._session!r})"


def _outgoing(request: Any) -> Outgoing:
    return Outgoing(
        method=request.method,
        url=str(request.url),
        replayable=is_replayable(request),
        has_authorization="authorization" in request.headers,
    )


def _set(request: Any, step: Send) -> None:
    if step.headers is None:
        return
    request.headers.update(step.headers)
    request.extensions["portero"] = True


def _answer(response: Any) -> Answer:
    return Answer(response.status_code, response.headers, str(response.url))


def _attach(error: NotReplayableError | StepUpRequired, response: Any) -> None:
    if isinstance(error, NotReplayableError):
        error.response = response
