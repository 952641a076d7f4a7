"""What a service saw, a JSON line a request, so that the check can prove each step from both sides.

Outside the Guard: a refused request is seen, too. Never a token: method, path, status, and whether a
bearer came with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Seen:
    """Appends to the file; each line is one `write`, so lines of threads do not mix."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, *, method: str, path: str, status: int, bearer: bool) -> None:
        line = json.dumps({"method": method, "path": path, "status": status, "bearer": bearer})
        os.write(self._file, line.encode() + b"\n")


def asgi(app: Any, seen: Seen) -> Any:
    """Wrap an ASGI application."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        bearer = any(name == b"authorization" for name, _ in scope["headers"])

        async def noticing(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.add(method=scope["method"], path=scope["path"], status=message["status"], bearer=bearer)
            await send(message)

        await app(scope, receive, noticing)

    return wrapped


def wsgi(app: Any, seen: Seen) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Wrap a WSGI application."""

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def noticing(status: str, headers: Any, *rest: Any) -> Any:
            seen.add(
                method=environ["REQUEST_METHOD"],
                path=environ["PATH_INFO"],
                status=int(status[:3]),
                bearer="HTTP_AUTHORIZATION" in environ,
            )
            return start_response(status, headers, *rest)

        return app(environ, noticing)  # type: ignore[no-any-return]  # a WSGI application, by the caller's word

    return wrapped
