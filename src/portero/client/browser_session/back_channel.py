"""Back-channel sign-out: the server says that a session ended (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8)."""

from __future__ import annotations

import logging

from portero.client.browser_session.exchange import Exchange
from portero.client.browser_session.issuer import AuthorizationServer
from portero.client.browser_session.sessions import Sessions
from portero.client.browser_session.settings import Settings
from portero.core.errors import RequestError
from portero.core.logout.verification import verify_logout_token
from portero.ports import Clock

logger = logging.getLogger(__name__)

ALGORITHMS = ("ES256", "RS256", "Ed25519")


class BackChannel:
    """The endpoint that only the authorization server calls."""

    def __init__(self, settings: Settings, server: AuthorizationServer, sessions: Sessions, *, clock: Clock) -> None:
        self._settings = settings
        self._server = server
        self._sessions = sessions
        self._clock = clock

    async def receive(self, exchange: Exchange) -> None:
        """`POST base/back-channel-logout`. Answered when the session is gone, so that the server may rely on it."""
        token = (await exchange.form()).get("logout_token")
        if not token:
            raise RequestError("invalid_request", "there is no logout_token")
        now = self._clock.now()
        who = await self._server.verified(
            lambda find_key: verify_logout_token(
                token,
                issuer=self._settings.issuer,
                client_id=self._settings.client_id,
                find_key=find_key,
                now=now,
                algorithms=ALGORITHMS,
            )
        )
        until = now + self._settings.longest.total_seconds()
        count = await self._sessions.end_all(sid=who.sid, sub=who.subject, now=now, until=until)
        logger.info("the server ended a session; %d kept here", count)
        await exchange.answer(200)
