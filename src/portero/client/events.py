"""What a session tells: every transition and every step on the wire. None of it ever holds a token.

Listeners run after the step that caused the event, never inside a lock of the session or of its store; one that
raises is logged and harms nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from portero.client.machine import Cause, State

_log = logging.getLogger("portero.client")


@dataclass(frozen=True, slots=True)
class Transitioned:
    """The state changed. `at`: seconds since 1970, UTC."""

    source: State
    target: State
    cause: Cause
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Step:
    """Something happened on the way. `name` is one of `refresh.sent`, `request.retried`, …; `url` has no query."""

    name: str
    reason: str
    url: str | None
    at: float


Event = Transitioned | Step
Listener = Callable[[Event], None]


class Events:
    """A queue of what happened, and those who want to hear of it."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._waiting: deque[Event] = deque()
        self._lock = threading.Lock()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the function that comes back removes it."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def add(self, event: Event) -> None:
        """Remember an event for the next `tell`."""
        if self._listeners or _log.isEnabledFor(logging.DEBUG):
            self._waiting.append(event)

    def tell(self) -> None:
        """Call the listeners with what was added, in order. Called where no lock is held."""
        while self._waiting:
            # One thread tells at a time, so that the order holds; whoever finds it busy leaves it to that one.
            if not self._lock.acquire(blocking=False):
                return
            try:
                while self._waiting:
                    self._tell_one(self._waiting.popleft())
            finally:
                self._lock.release()

    def clear(self) -> None:
        """Forget the listeners."""
        self._listeners.clear()

    def _tell_one(self, event: Event) -> None:
        match event:
            case Transitioned():
                _log.debug("%s → %s (%s: %s)", event.source.value, event.target.value, event.cause.value, event.reason)
            case Step():
                _log.debug("%s: %s %s", event.name, event.reason, event.url or "")
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                _log.exception("a listener of the session failed")
