"""Where sessions are kept: the port, and the memory of one process."""

from __future__ import annotations

from typing import Protocol

from portero.client.browser_session.records import Session
from portero.core.digests import sha256_of
from portero.core.types import Secret


class Sessions(Protocol):
    """A session that was ended never comes back: whatever is written to it later is dropped."""

    async def create(self, session: Session, secret: Secret[str], *, now: float) -> str:
        """Keep a new session; return the value of its cookie.

        Args:
            session: its `key` is the SHA-256 of `secret`, in hexadecimal digits.
            secret: 256 random bits.
            now: seconds since 1970.

        Raises:
            Unavailable: not kept.
        """
        ...

    async def find(self, cookie: str, *, now: float) -> Session | None:
        """The session of a cookie; None: no such session, or over.

        Raises:
            Unavailable: it cannot be looked up.
        """
        ...

    async def latest(self, session: Session, *, now: float) -> Session | None:
        """The same session as kept now, after other requests may have refreshed or ended it."""
        ...

    async def replace(self, session: Session, *, now: float) -> bool:
        """Keep what a refresh brought, where the kept version is the one below; False: somebody was faster, or it
        was ended."""
        ...

    def renewed_cookie(self, session: Session) -> str | None:
        """The cookie's new value after a refresh; None where it stays the same."""
        ...

    async def end(self, key: str, *, until: float) -> Session | None:
        """End one session. `until`: when it would have ended by itself. Returns it where it was kept."""
        ...

    async def end_all(self, *, sid: str | None, sub: str | None, now: float, until: float) -> int:
        """End the sessions of a device session (`sid`), or without one those of a person (`sub`) begun by now."""
        ...

    async def aclose(self) -> None:
        """Let go of files."""
        ...


class MemorySessions:
    """Sessions in this process: gone when it stops. For one process, tests and demonstrations."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    async def create(self, session: Session, secret: Secret[str], *, now: float) -> str:
        """As `Sessions.create`."""
        for key in [key for key, one in self._sessions.items() if one.ends <= now][:8]:
            del self._sessions[key]
        self._sessions[session.key] = session
        return secret.reveal()

    async def find(self, cookie: str, *, now: float) -> Session | None:
        """As `Sessions.find`."""
        return self._live(key_of(cookie), now)

    async def latest(self, session: Session, *, now: float) -> Session | None:
        """As `Sessions.latest`."""
        return self._live(session.key, now)

    async def replace(self, session: Session, *, now: float) -> bool:
        """As `Sessions.replace`."""
        kept = self._live(session.key, now)
        if kept is None or kept.version + 1 != session.version:
            return False
        self._sessions[session.key] = session
        return True

    def renewed_cookie(self, session: Session) -> str | None:
        """The cookie never changes."""
        return None

    async def end(self, key: str, *, until: float) -> Session | None:
        """As `Sessions.end`."""
        return self._sessions.pop(key, None)

    async def end_all(self, *, sid: str | None, sub: str | None, now: float, until: float) -> int:
        """As `Sessions.end_all`."""
        ended = [
            key
            for key, one in self._sessions.items()
            if (one.sid == sid if sid is not None else one.sub == sub and one.started <= now)
        ]
        for key in ended:
            del self._sessions[key]
        return len(ended)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _live(self, key: str, now: float) -> Session | None:
        session = self._sessions.get(key)
        return session if session is not None and now < session.ends else None


def key_of(cookie: str) -> str:
    """What a server-side store looks a cookie up by: it never sees the cookie itself."""
    return sha256_of(Secret(cookie)).hex()
