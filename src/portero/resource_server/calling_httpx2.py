"""Calling the next service with httpx2, sync and async.

auth = NextServiceAuth(exchange.on_behalf_of(received_token(request)))
await client.get("https://stock.example/items", auth=auth)
"""

from __future__ import annotations

import httpx2

from portero.resource_server.calling_flow import NextServiceFlow

__all__ = ["NextServiceAuth"]


class NextServiceAuth(NextServiceFlow, httpx2.Auth):
    """`httpx2` authentication by a `TokenSource` (`NextServiceFlow`)."""
