"""An event stream as an iterator: it ends with its token, where a framework hands out iterators.

For WSGI, Flask and Django; `asgi` ends streams by their messages. Nothing is sent after the
token is over. An async iterator ends at that moment; a thread that waits within its iterator
cannot be woken, so a sync one ends at its next event or heartbeat, and sends neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import REVOKED, Refusal
from portero.resource_server.guard import Guard


def is_event_stream(content_type: str | None) -> bool:
    """Whether a response's content type says that it goes on (HTML §9.2.4)."""
    return (content_type or "").partition(";")[0].strip().lower() == "text/event-stream"


class EventsUntilOver(Iterator[bytes]):
    """The same events, until the token is over. Closes what it was given when it is closed (PEP 3333)."""

    def __init__(self, guard: Guard, principal: Principal, events: Iterable[bytes]) -> None:
        self._guard = guard
        self._principal = principal
        self._events = events
        self._iterator = iter(events)
        self._over: list[Refusal] = []
        self._watched = guard.connections.watch_in_thread(principal, self._over.append)
        if guard.is_revoked(principal):
            # Before it was watched.
            self._over.append(REVOKED)

    def __next__(self) -> bytes:
        try:
            if not self._ended():
                event = next(self._iterator)
                if not self._ended():
                    return event
        except BaseException:
            self._watched.forget()
            raise
        self._watched.forget()
        raise StopIteration

    def close(self) -> None:
        """Leave nothing behind."""
        self._watched.forget()
        close = getattr(self._events, "close", None)
        if close is not None:
            close()

    def _ended(self) -> bool:
        return bool(self._over) or self._guard.seconds_left(self._principal) <= 0


async def events_until_over(guard: Guard, principal: Principal, events: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same, of an async iterator: it ends at the moment the token does, whatever it waits for."""
    over: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
    watched = guard.watch(principal, over.set_result)
    iterator = aiter(events)
    upcoming: asyncio.Future[bytes] | None = None
    try:
        while True:
            upcoming = asyncio.ensure_future(anext(iterator))
            either: set[asyncio.Future[Any]] = {upcoming, over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                return
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        watched.forget()
        if upcoming is not None and not upcoming.done():
            upcoming.cancel()
            await asyncio.wait({upcoming})
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()
