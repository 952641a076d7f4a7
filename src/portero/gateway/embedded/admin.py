"""`[gateway] admin`: is it alive, is it ready, and its metrics. For operators, never for callers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from portero.core.errors import ConfigurationError
from portero.gateway.embedded import metrics
from portero.gateway.requests import Answer, Answering, Request


async def serve_admin(address: str, total: Callable[[], Mapping[str, Any]]) -> asyncio.Server:
    """Listen there.

    Args:
        address: host:port.
        total: what all workers know, added up (`metrics.added_up`).

    Raises:
        ConfigurationError: it cannot listen there.
    """

    def respond(request: Request) -> Answer:
        path = request.target.partition(b"?")[0]
        if request.method not in ("GET", "HEAD"):
            return Answer(405, (("allow", "GET, HEAD"),))
        if path == b"/livez":
            return _json(200, {"status": "alive"})
        if path == b"/readyz":
            known = total()
            return _json(200 if known["ready"] else 503, {"ready": known["ready"], "problems": known["problems"]})
        if path == b"/metrics":
            return Answer(200, (("content-type", metrics.CONTENT_TYPE),), metrics.rendered(total()))
        return _json(404, {"paths": ["/livez", "/readyz", "/metrics"]})

    host, _, port = address.rpartition(":")
    try:
        return await asyncio.get_running_loop().create_server(lambda: Answering(respond), host.strip("[]"), int(port))
    except OSError as error:
        raise ConfigurationError("gateway.admin", address, f"cannot be listened at ({error.strerror})") from None


def _json(status: int, members: Mapping[str, object]) -> Answer:
    body = json.dumps(members, separators=(",", ":")).encode()
    return Answer(status, (("content-type", "application/json"), ("cache-control", "no-store")), body)
