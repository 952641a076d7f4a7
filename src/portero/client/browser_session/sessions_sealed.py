"""Sessions in the cookie itself, sealed: nothing is kept on the server, so any number of machines may serve.

What it costs: the cookie changes with each refresh (some 2 kB with each request), and a session that ends is known as
ended only to the process that ended it. Elsewhere its tokens are worth nothing all the same: the services hear of the
revocation, and the next refresh is refused, which takes the cookie away.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from portero.adapters.system import SystemRandom
from portero.client.browser_session.records import Session, dump, load
from portero.client.browser_session.sealing import Seal
from portero.core.errors import Unavailable
from portero.core.types import Secret
from portero.ports import Random

MAX_COOKIE: Final = 3800
"""Characters of the value: browsers drop a cookie of more than 4096 with its name and attributes (RFC 6265bis §5.6)."""
_REMEMBERED: Final = 10_000
"""Sessions of which the last refresh is remembered: what is on its way with the old cookie finds the new tokens."""
_ENDED: Final = 100_000


class SealedSessions:
    """As `Sessions`.

    Args:
        secrets: as `Settings.secrets`.
    """

    def __init__(self, *, secrets: Sequence[Secret[str]], random: Random | None = None) -> None:
        self._seal = Seal(secrets, purpose="session cookie", random=random or SystemRandom())
        self._recent: OrderedDict[str, Session] = OrderedDict()
        self._ended: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        """What ended (`key`, `sid` or `sub`) → sessions begun until when, and until when to remember it."""

    async def create(self, session: Session, secret: Secret[str], *, now: float) -> str:
        """As `Sessions.create`."""
        return self._cookie(session)

    async def find(self, cookie: str, *, now: float) -> Session | None:
        """As `Sessions.find`."""
        text = self._seal.open(cookie) if len(cookie) <= MAX_COOKIE else None
        return None if text is None else await self.latest(load(text), now=now)

    async def latest(self, session: Session, *, now: float) -> Session | None:
        """As `Sessions.latest`."""
        if now >= session.ends or self._is_ended(session):
            return None
        recent = self._recent.get(session.key)
        return recent if recent is not None and recent.version > session.version else session

    async def replace(self, session: Session, *, now: float) -> bool:
        """As `Sessions.replace`."""
        recent = self._recent.get(session.key)
        if now >= session.ends or self._is_ended(session):
            return False
        if recent is not None and recent.version >= session.version:
            return False
        self._cookie(session)
        self._recent[session.key] = session
        self._recent.move_to_end(session.key)
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return True

    def renewed_cookie(self, session: Session) -> str | None:
        """The new value, unless the session was ended meanwhile: then no late answer brings it back."""
        return None if self._is_ended(session) else self._cookie(session)

    async def end(self, key: str, *, until: float) -> Session | None:
        """As `Sessions.end`."""
        self._remember(("key", key), started=float("inf"), until=until)
        return self._recent.pop(key, None)

    async def end_all(self, *, sid: str | None, sub: str | None, now: float, until: float) -> int:
        """As `Sessions.end_all`; always 0: nobody counts cookies."""
        for (kind, value), (_, over) in list(self._ended.items())[:8]:
            if over <= now:
                del self._ended[(kind, value)]
        if sid is not None:
            self._remember(("sid", sid), started=float("inf"), until=until)
        elif sub is not None:
            self._remember(("sub", sub), started=now, until=until)
        return 0

    async def aclose(self) -> None:
        """Nothing is open."""

    def _cookie(self, session: Session) -> str:
        value = self._seal.seal(dump(session))
        if len(value) > MAX_COOKIE:
            raise Unavailable(
                f"a sealed session of {len(value)} characters fits no cookie: "
                "ask for fewer scopes or claims, or keep sessions on the server (SqliteSessions)"
            )
        return value

    def _remember(self, what: tuple[str, str], *, started: float, until: float) -> None:
        self._ended[what] = (started, until)
        self._ended.move_to_end(what)
        while len(self._ended) > _ENDED:
            self._ended.popitem(last=False)

    def _is_ended(self, session: Session) -> bool:
        names = (("key", session.key), ("sid", session.sid or ""), ("sub", session.sub))
        return any(session.started <= self._ended[name][0] for name in names if name in self._ended)
