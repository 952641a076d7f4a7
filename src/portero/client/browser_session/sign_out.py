"""Signing out: here first, then at the server, which tells every service."""

from __future__ import annotations

import asyncio
from typing import Final

from portero.client.browser_session.records import Session
from portero.client.browser_session.refreshing import Refresher
from portero.client.browser_session.sessions import Sessions

_PATIENCE: Final = 3.0
"""Seconds the answer waits for the server to know; it is told later where that does not do."""


async def sign_out(session: Session | None, sessions: Sessions, refresher: Refresher) -> None:
    """End a session. With nobody signed in that is done already.

    Raises:
        Unavailable: the store is away, and the session goes on.
    """
    if session is None:
        return
    # What is kept is newer than the cookie, where a refresh has just landed.
    kept = await sessions.end(session.key, until=session.ends) or session
    revocation = refresher.revoke_later(kept.refresh_token)
    if revocation is not None:
        await asyncio.wait({revocation}, timeout=_PATIENCE)
