"""What an operator does: end sessions, close and open accounts and clients, rotate keys. For the API and the console.

Every change is one transition, and its audit event names who made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from portero.authorization_server.context import Context
from portero.core.registration import enable_client, enable_user
from portero.core.sessions.ending import Ended, decide_end_session, disable_client, disable_user, end_everything_of
from portero.core.sessions.records import EndReason
from portero.core.transitions import (
    ClientAggregate,
    ClientKey,
    Decision,
    SessionAggregate,
    SessionKey,
    SubjectAggregate,
    SubjectKey,
    signed,
)
from portero.core.types import ClientId, Issuer, NumericDate, Sid, Subject

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Operations:
    """The changes one operator makes.

    Raises (each of them):
        Unavailable: the store cannot be reached; nothing was changed.
    """

    context: Context
    by: str
    """Who makes them: a program's client id, or a person's subject."""

    async def end_session(self, sid: Sid) -> Ended:
        """End a session, everywhere and at once; empty where there is none that is live."""
        now, iss, leeway = self._terms()

        def decide(aggregate: SessionAggregate) -> Decision[Ended]:
            reason = EndReason.OPERATOR
            return self._signed(decide_end_session(aggregate, reason=reason, now=now, iss=iss, leeway=leeway))

        return await self.context.commit(SessionKey(sid), decide, now=now)

    async def end_sessions(self, subject: Subject) -> Ended:
        """End every session and sign-in of a person, who may sign in again."""
        now, iss, leeway = self._terms()

        def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
            reason = EndReason.OPERATOR
            return self._signed(end_everything_of(aggregate, reason=reason, now=now, iss=iss, leeway=leeway))

        return await self.context.commit(SubjectKey(subject), decide, now=now)

    async def set_user_enabled(self, subject: Subject, *, enabled: bool) -> None:
        """Let a person in again, or disable them, which ends everything of theirs. Nothing where it is so already."""
        now, iss, leeway = self._terms()

        def decide(aggregate: SubjectAggregate) -> Decision[object]:
            if aggregate.user is None or aggregate.user.enabled is enabled:
                return Decision(None)
            if enabled:
                return self._signed(enable_user(aggregate, now=now))
            return self._signed(disable_user(aggregate, now=now, iss=iss, leeway=leeway))

        await self.context.commit(SubjectKey(subject), decide, now=now)

    async def set_client_enabled(self, client_id: ClientId, *, enabled: bool) -> None:
        """Let a client in again, or disable it, which takes its tokens back. Nothing where it is so already."""
        now, iss, leeway = self._terms()
        lifetime = int(self.context.config.access_token_lifetime.total_seconds())

        def decide(aggregate: ClientAggregate) -> Decision[object]:
            if aggregate.client is None or aggregate.client.enabled is enabled:
                return Decision(None)
            if enabled:
                return self._signed(enable_client(aggregate, now=now))
            return self._signed(
                disable_client(aggregate, now=now, iss=iss, leeway=leeway, access_token_lifetime=lifetime)
            )

        await self.context.commit(ClientKey(client_id), decide, now=now)

    async def rotate_keys(self) -> None:
        """Publish a new signing key; it signs once verifiers have had time to see it."""
        await self.context.key_ring.rotate(by=self.by)

    def _signed(self, decision: Decision[R]) -> Decision[R]:
        return signed(decision, by=self.by)

    def _terms(self) -> tuple[NumericDate, Issuer, int]:
        terms = self.context.ending_terms()
        return terms["now"], terms["iss"], terms["leeway"]
