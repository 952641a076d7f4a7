"""`/api/account`: what a person does with their own sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from portero.authorization_server.api import devices
from portero.authorization_server.api.desk import AtDesk, Desk, Person, ThisPerson, not_found
from portero.authorization_server.api.models import (
    MAX_ID,
    ConsentOut,
    ConsentsOut,
    EndedOut,
    EndIn,
    RenameIn,
    SessionOut,
    SessionsOut,
    at,
)
from portero.core.sessions.ending import Ended, withdraw_consent
from portero.core.sessions.lifetimes import is_live
from portero.core.sessions.records import DeviceSession
from portero.core.transitions import ConsentKey, ConsentsKey, Decision, SubjectAggregate, SubjectKey
from portero.core.types import ClientId, Sid

router = APIRouter(prefix="/account", tags=["account"])

SidInPath = Annotated[str, Path(max_length=MAX_ID)]


@router.get("/sessions")
async def list_own_sessions(desk: AtDesk, person: ThisPerson) -> SessionsOut:
    """List one's own live sessions, the newest use first."""
    aggregate = await desk.context.store.read(SubjectKey(person.user.subject))
    now = desk.context.now()
    live = sorted(
        (each for each in aggregate.sessions if is_live(each, now=now)), key=lambda each: (-each.last_seen, each.sid)
    )
    return SessionsOut(sessions=[await _shown(desk, person, session) for session in live])


@router.patch("/sessions/{sid}")
async def rename_own_session(desk: AtDesk, person: ThisPerson, sid: SidInPath, change: RenameIn) -> SessionOut:
    """Name one of one's own sessions."""
    subject = person.user.subject
    renamed = await devices.rename(desk, Sid(sid), unverified_name=change.name, expected_subject=subject)
    return await _shown(desk, person, renamed)


@router.delete("/sessions/{sid}", status_code=204)
async def end_own_session(desk: AtDesk, person: ThisPerson, sid: SidInPath) -> None:
    """End one of one's own sessions: its tokens stop working everywhere at once."""
    await devices.end_one(desk, Sid(sid), expected_subject=person.user.subject)


@router.post("/sessions/end")
async def end_own_sessions(desk: AtDesk, person: ThisPerson, wanted: EndIn) -> EndedOut:
    """End all of one's other sessions, or all of them."""
    but = person.sid if wanted.which == "others" else None
    return EndedOut(ended=len(await devices.end_many(desk, person.user.subject, but=but)))


@router.get("/consents")
async def list_own_consents(desk: AtDesk, person: ThisPerson) -> ConsentsOut:
    """List what one allowed applications of others."""
    consents = await desk.context.store.read(ConsentsKey(person.user.subject))
    return ConsentsOut(
        consents=[
            ConsentOut(
                client_id=each.client_id,
                client_name=await desk.client_name(each.client_id),
                scope=list(each.scope),
                resource=list(each.resource),
                granted=at(each.granted),
            )
            for each in consents
        ]
    )


@router.delete("/consents/{client_id:path}", status_code=204)
async def withdraw_own_consent(
    desk: AtDesk, person: ThisPerson, client_id: Annotated[str, Path(max_length=MAX_ID)]
) -> None:
    """Take an agreement back: what the application has of one's own ends at once."""
    subject, terms = person.user.subject, desk.context.ending_terms()
    if await desk.context.store.read(ConsentKey(subject, ClientId(client_id))) is None:
        raise not_found("agreement")

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        return withdraw_consent(aggregate, subject=subject, client_id=ClientId(client_id), **terms)

    await desk.context.commit(SubjectKey(subject), decide, now=terms["now"])


async def _shown(desk: Desk, person: Person, session: DeviceSession) -> SessionOut:
    return SessionOut.of(session, client_name=await desk.client_name(session.client_id), current=person.sid)
