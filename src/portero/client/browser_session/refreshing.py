"""Refreshes on behalf of browsers: one flight for each session, whoever asks.

A refresh that fails or loses ends nothing. Only `invalid_grant` with a reason other than `superseded` is the server's
word that the session is over. This client is confidential (profile A of docs/reference/refresh-tokens.md): it proves a
retry by its own authentication, so several processes that refresh at once get the same successor.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Final

from portero.adapters.fetch.requests import FetchRequest
from portero.client.browser_session.issuer import AuthorizationServer
from portero.client.browser_session.records import Session
from portero.client.browser_session.sessions import Sessions
from portero.client.protocol.token import (
    ClientIdentity,
    Grant,
    Granted,
    NoAnswer,
    Refused,
    refresh_request,
    revocation_request,
)
from portero.core.errors import PorteroError, Unavailable
from portero.core.jose import base64url
from portero.core.types import Secret
from portero.ports import Clock, Random

logger = logging.getLogger(__name__)

MARGIN: Final = 5.0
"""Seconds before its end from which an access token is not sent any more: it has to arrive, too."""
UNSAID: Final = 300.0
"""Seconds an access token lives whose server does not say."""
_REST: Final = 5.0
"""Seconds without a refresh after one without an answer, where the server asks for no other time."""
_REVOKE_TRIES: Final = 5


class SessionOver(PorteroError):
    """There is no session. `forget`: the server said so, or there never was one, and the cookie may go."""

    def __init__(self, reason: str, *, forget: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.forget = forget


def times_of(grant: Grant, *, asked_at: float) -> tuple[float, float]:
    """When the access token is last sent, and from when a refresh is welcome; counted from when it was asked for."""
    life = UNSAID if grant.expires_in is None else grant.expires_in
    until = asked_at + max(life - MARGIN, life * 0.9)
    early = life * 0.8 if grant.refresh_after is None else grant.refresh_after
    return until, min(asked_at + early, until)


class Refresher:
    """Finds a usable access token for a session."""

    def __init__(self, server: AuthorizationServer, sessions: Sessions, *, clock: Clock, random: Random) -> None:
        self._server = server
        self._sessions = sessions
        self._clock = clock
        self._random = random
        self._flights: dict[str, asyncio.Task[Session]] = {}
        self._resting: dict[str, float] = {}
        """Session → monotonic time until which nobody asks the server for it again."""
        self._background: set[asyncio.Task[None]] = set()

    async def usable(self, session: Session) -> Session:
        """The session with an access token that is worth sending.

        Raises:
            SessionOver: it ended, or cannot go on.
            Unavailable: it has to be refreshed and cannot be right now. Nothing was ended.
        """
        now = self._clock.now()
        if now < session.refresh_from:
            return session
        if now < session.access_until:
            # Good for this request; the next ones find a new one.
            if not self._rests(session):
                self._flight(session)
            return session
        return await self._landed(session)

    async def replaced(self, session: Session) -> Session:
        """After a service refused this session's token: the session with another one.

        Raises:
            SessionOver, Unavailable: as `usable`.
        """
        return await self._landed(session)

    def revoke_later(self, refresh_token: Secret[str] | None) -> asyncio.Task[None] | None:
        """End the session at the server too, best effort: here it is over already."""
        if refresh_token is None:
            return None
        task = asyncio.ensure_future(self._revoke(refresh_token))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def aclose(self) -> None:
        """Leave nothing running."""
        tasks = [*self._flights.values(), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _landed(self, session: Session) -> Session:
        latest = await self._sessions.latest(session, now=self._clock.now())
        if latest is None:
            raise SessionOver("ended", forget=True)
        if latest.version != session.version and self._clock.now() < latest.access_until:
            return latest
        if self._rests(latest):
            raise Unavailable("the session cannot be refreshed right now", retry_after=int(_REST))
        # Shielded: who gives up waiting does not take the refresh away from the others.
        return await asyncio.shield(self._flight(latest))

    def _rests(self, session: Session) -> bool:
        until = self._resting.get(session.key)
        if until is None or self._clock.monotonic() < until:
            return until is not None
        del self._resting[session.key]
        return False

    def _flight(self, session: Session) -> asyncio.Task[Session]:
        flight = self._flights.get(session.key)
        if flight is None:
            flight = self._flights[session.key] = asyncio.ensure_future(self._refresh(session))
            flight.add_done_callback(partial(self._ended, session.key))
        return flight

    def _ended(self, key: str, flight: asyncio.Task[Session]) -> None:
        del self._flights[key]
        if not flight.cancelled() and flight.exception() is not None:
            logger.info("a refresh did not help: %s", flight.exception())

    async def _refresh(self, session: Session) -> Session:
        # What another process, or an answer on its way with an older cookie, brought meanwhile.
        latest = await self._sessions.latest(session, now=self._clock.now())
        if latest is None:
            raise SessionOver("ended", forget=True)
        if latest.version > session.version:
            return latest
        refresh_token = session.refresh_token
        if refresh_token is None:
            raise SessionOver("expired", forget=False)
        asked_at = self._clock.now()
        outcome = await self._server.ask(partial(self._request, refresh_token=refresh_token))
        match outcome:
            case Granted(grant):
                return await self._keep(session, grant, asked_at)
            case Refused("superseded"):
                # Somebody was faster: what he brought is kept where we share a store.
                latest = await self._sessions.latest(session, now=self._clock.now())
                if latest is not None and latest.version > session.version:
                    return latest
                raise SessionOver("superseded", forget=False)
            case Refused(reason):
                await self._sessions.end(session.key, until=session.ends)
                raise SessionOver(reason, forget=True)
            case NoAnswer(reason, retry_after):
                rest = _REST if retry_after is None else max(retry_after, 1.0)
                if len(self._resting) > 10_000:
                    self._resting.clear()
                self._resting[session.key] = self._clock.monotonic() + rest
                raise Unavailable(f"the session cannot be refreshed: {reason}", retry_after=int(rest))

    async def _keep(self, session: Session, grant: Grant, asked_at: float) -> Session:
        until, early = times_of(grant, asked_at=asked_at)
        fresh = replace(
            session,
            access_token=grant.access_token,
            access_until=until,
            refresh_from=early,
            refresh_token=grant.refresh_token or session.refresh_token,
            version=session.version + 1,
        )
        if await self._sessions.replace(fresh, now=self._clock.now()):
            return fresh
        latest = await self._sessions.latest(session, now=self._clock.now())
        if latest is None:
            # It was ended while we asked: what came must not live on.
            self.revoke_later(fresh.refresh_token)
            raise SessionOver("ended", forget=True)
        return latest

    def _request(self, url: str, who: ClientIdentity, *, refresh_token: Secret[str]) -> FetchRequest:
        attempt = base64url.encode(self._random.bytes(16))
        return refresh_request(url, who, refresh_token=refresh_token, refresh_attempt=attempt)

    async def _revoke(self, refresh_token: Secret[str]) -> None:
        for attempt in range(_REVOKE_TRIES):
            if await self._server.revoke(partial(revocation_request, refresh_token=refresh_token)):
                return
            await asyncio.sleep(2.0**attempt)
        logger.warning("a session was signed out here, and the server could not be told")
