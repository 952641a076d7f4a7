"""One HTTP request over ASGI and its answer, without a framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from portero.core.errors import RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_FORM: Final = 64 * 1024
"""Bytes of a form; a logout token has one or two thousand."""
NO_STORE: Final = (b"cache-control", b"no-store")


class Gone(Exception):
    """The caller went away: nobody is left to answer."""


class Exchange:
    """One request. `method` and `path` as the server gives them, the path decoded."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.started = False
        """Whether the answer has begun: then nothing else can be said."""
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.cookies_to_set: list[str] = []
        """`Set-Cookie` values that go with whatever is answered."""

    async def send(self, message: Message) -> None:
        """Send one message of the answer."""
        self.started = True
        await self._send(message)

    def header(self, name: str) -> str | None:
        """A request header; several are joined as HTTP joins them."""
        wanted = name.encode("latin-1")
        found = [value.decode("latin-1") for header, value in self.scope["headers"] if header == wanted]
        return ("; " if name == "cookie" else ", ").join(found) if found else None

    def query(self) -> dict[str, str]:
        """The parameters of the query.

        Raises:
            RequestError: one comes twice.
        """
        return _once(self.scope.get("query_string", b"").decode("latin-1"))

    async def form(self) -> dict[str, str]:
        """Read a form.

        Raises:
            RequestError: not a form, too large, or a parameter comes twice.
            Gone: the caller went away.
        """
        if (self.header("content-type") or "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise RequestError("invalid_request", "the body is a form")
        body = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            body += message.get("body", b"")
            if len(body) > MAX_FORM:
                raise RequestError("invalid_request", "the form is too large", status=413)
            if not message.get("more_body", False):
                return _once(body.decode("latin-1"))

    async def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
        """Answer with what is at hand."""
        cookies = [(b"set-cookie", cookie.encode("latin-1")) for cookie in self.cookies_to_set]
        length = (b"content-length", str(len(body)).encode())
        await self.send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *cookies, NO_STORE, length]}
        )
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def json(self, document: Any, *, status: int = 200) -> None:
        """Answer with a JSON document."""
        await self.answer(status, [(b"content-type", b"application/json")], orjson.dumps(document))

    async def problem(self, status: int, detail: str, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer with problem details (RFC 9457)."""
        document = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        await self.answer(status, [(b"content-type", b"application/problem+json"), *headers], orjson.dumps(document))


def _once(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=50)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise RequestError("invalid_request", "a parameter comes twice")
    return parameters
