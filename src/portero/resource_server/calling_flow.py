"""What httpx2's and httpx's authentication have in common: one call with a source's token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from portero.resource_server.calling import TokenSource

Source = TokenSource | Callable[[], TokenSource]


class NextServiceFlow:
    """Sends the source's token, to its destination only.

    Args:
        source: of one request's calls; or what returns the present request's, for a client that is shared.

    Raises (from the client's own calls):
        WrongDestination, ExchangeRefused, Unavailable.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """One call in a thread."""
        source = source_of(self._source)
        source.to.check(str(request.url))
        request.headers["Authorization"] = "Bearer " + source.token().reveal()
        response = yield request
        if response.status_code == 401:
            source.refused()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """One call on an event loop."""
        source = source_of(self._source)
        source.to.check(str(request.url))
        request.headers["Authorization"] = "Bearer " + (await source.atoken()).reveal()
        response = yield request
        if response.status_code == 401:
            source.refused()


def source_of(source: Source) -> TokenSource:
    """The source of the call that is being made."""
    return source() if callable(source) else source
