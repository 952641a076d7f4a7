"""A relay beside a Guard: where nobody serves the socket yet, the first process that finds that out does."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from portero.core.errors import Unavailable
from portero.ports import Clock
from portero.resource_server.issuers import RevocationFeed, TrustedIssuer
from portero.resource_server.relay_socket import Listening, ServingLock, listening

_log = logging.getLogger("portero.relay")


class RelayThread:
    """Serves a relay in a thread of this process, with an event loop of its own, once `stand` has won the lock.

    Args:
        path: of the socket.
        issuers: whose feeds are handed on, each with its settings.
    """

    def __init__(self, path: Path, issuers: Sequence[tuple[TrustedIssuer, RevocationFeed]], *, clock: Clock) -> None:
        self._path = path
        self._issuers = issuers
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._pid = os.getpid()

    @property
    def serves(self) -> bool:
        """Whether this process is the relay."""
        return self._thread is not None and self._thread.is_alive()

    def stand(self) -> None:
        """Serve, if nobody does. Never raises: a Guard without a relay follows its issuer itself."""
        with self._lock:
            if self._closed or self.serves or os.getpid() != self._pid:
                return
            try:
                right = ServingLock.taken(self._path)
            except Unavailable as error:
                _log.warning("%s", error)
                return
            if right is None:
                return
            try:
                made = listening(right, mode=0o600)
            except Unavailable as error:
                right.release()
                _log.warning("%s", error)
                return
            self._thread = threading.Thread(target=self._run, args=(right, made), name="feed relay", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop serving; somebody else then stands."""
        with self._lock:
            self._closed = True
            thread, loop, task = self._thread, self._loop, self._task
        if thread is None or os.getpid() != self._pid:
            return
        if loop is not None and task is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
        thread.join(3.0)

    def _run(self, right: ServingLock, made: Listening) -> None:
        try:
            asyncio.run(self._serve(made))
        except asyncio.CancelledError:
            pass
        except Exception:  # the workers then follow the issuer themselves
            _log.exception("the relay at %s ended", self._path)
        finally:
            right.release()

    async def _serve(self, made: Listening) -> None:
        # It follows the issuers by the same driver that may serve it: not importable at the top.
        from portero.resource_server.relay import Relay, RelayedIssuer

        issuers = [RelayedIssuer(issuer, feed) for issuer, feed in self._issuers]
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._closed:
                made.forget()
                made.sock.close()
                return
        await Relay(issuers, clock=self._clock).run(made)
