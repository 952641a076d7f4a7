"""`/api/operator`: users, clients, sessions, keys and the audit trail. Every change names the program that made it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from portero.authorization_server.api import devices
from portero.authorization_server.api.desk import AtDesk, Desk, ThisOperator, not_found
from portero.authorization_server.api.models import (
    MAX_ID,
    MAX_LIMIT,
    AuditEventOut,
    AuditOut,
    ClientOut,
    ClientsOut,
    EnabledIn,
    EndedOut,
    KeyOut,
    KeysOut,
    OperatorSessionOut,
    OperatorSessionsOut,
    RenameIn,
    UserOut,
    UsersOut,
)
from portero.core.sessions.records import DeviceSession
from portero.core.transitions import (
    AuditKey,
    ClientKey,
    ClientsKey,
    SessionKey,
    SessionsKey,
    SigningKeysKey,
    SubjectKey,
    UsersKey,
)
from portero.core.types import ClientId, Sid, Subject

router = APIRouter(prefix="/operator", tags=["operator"])

InPath = Annotated[str, Path(max_length=MAX_ID)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
OfSubject = Annotated[str | None, Query(max_length=MAX_ID, description="Of this person only.")]


@router.get("/users")
async def list_users(
    desk: AtDesk,
    _: ThisOperator,
    after: Annotated[str, Query(max_length=MAX_ID, description="A username: the page after it.")] = "",
    limit: Limit = 100,
) -> UsersOut:
    """List users by username."""
    users = await desk.context.store.read(UsersKey(after=after, limit=limit))
    following = users[-1].username if len(users) == limit else None
    return UsersOut(users=[UserOut.of(user) for user in users], next=following)


@router.get("/users/{subject}")
async def show_user(desk: AtDesk, _: ThisOperator, subject: InPath) -> UserOut:
    """Show one user."""
    user = (await desk.context.store.read(SubjectKey(Subject(subject)))).user
    if user is None:
        raise not_found("user")
    return UserOut.of(user)


@router.patch("/users/{subject}")
async def change_user(desk: AtDesk, operator: ThisOperator, subject: InPath, change: EnabledIn) -> UserOut:
    """Disable a user, which ends everything of theirs; or enable them again."""
    await operator.operations(desk).set_user_enabled(Subject(subject), enabled=change.enabled)
    return await show_user(desk, operator, subject)


@router.post("/users/{subject}/end-sessions")
async def end_sessions_of_user(desk: AtDesk, operator: ThisOperator, subject: InPath) -> EndedOut:
    """End every session of a user; they may sign in again."""
    await show_user(desk, operator, subject)
    return EndedOut(ended=len(await operator.operations(desk).end_sessions(Subject(subject))))


@router.get("/sessions")
async def list_sessions(
    desk: AtDesk, _: ThisOperator, subject: OfSubject = None, limit: Limit = 100
) -> OperatorSessionsOut:
    """List live sessions, the newest use first."""
    of = None if subject is None else Subject(subject)
    sessions = await desk.context.store.read(SessionsKey(subject=of, limit=limit))
    return OperatorSessionsOut(sessions=[await _shown(desk, session) for session in sessions])


@router.get("/sessions/{sid}")
async def show_session(desk: AtDesk, _: ThisOperator, sid: InPath) -> OperatorSessionOut:
    """Show one session, also for a while after its end, with the reason."""
    session = (await desk.context.store.read(SessionKey(Sid(sid)))).session
    if session is None:
        raise not_found("session")
    return await _shown(desk, session)


@router.patch("/sessions/{sid}")
async def rename_session(desk: AtDesk, _: ThisOperator, sid: InPath, change: RenameIn) -> OperatorSessionOut:
    """Name a session."""
    return await _shown(desk, await devices.rename(desk, Sid(sid), unverified_name=change.name, expected_subject=None))


@router.delete("/sessions/{sid}", status_code=204)
async def end_session(desk: AtDesk, operator: ThisOperator, sid: InPath) -> None:
    """End a session: its tokens stop working everywhere at once."""
    if not await operator.operations(desk).end_session(Sid(sid)):
        raise not_found("session")


@router.get("/clients")
async def list_clients(desk: AtDesk, _: ThisOperator) -> ClientsOut:
    """List all clients."""
    return ClientsOut(clients=[ClientOut.of(client) for client in await desk.context.store.read(ClientsKey())])


@router.get("/clients/{client_id}")
async def show_client(desk: AtDesk, _: ThisOperator, client_id: InPath) -> ClientOut:
    """Show one client."""
    client = (await desk.context.store.read(ClientKey(ClientId(client_id)))).client
    if client is None:
        raise not_found("client")
    return ClientOut.of(client)


@router.patch("/clients/{client_id}")
async def change_client(desk: AtDesk, operator: ThisOperator, client_id: InPath, change: EnabledIn) -> ClientOut:
    """Disable a client, whose tokens then stop working everywhere; or enable it again."""
    await operator.operations(desk).set_client_enabled(ClientId(client_id), enabled=change.enabled)
    return await show_client(desk, operator, client_id)


@router.get("/keys")
async def list_keys(desk: AtDesk, _: ThisOperator) -> KeysOut:
    """List the signing keys in use, oldest first."""
    return KeysOut(keys=[KeyOut.of(key) for key in await desk.context.store.read(SigningKeysKey())])


@router.post("/keys/rotate")
async def rotate_keys(desk: AtDesk, operator: ThisOperator) -> KeysOut:
    """Publish a new signing key, which signs once verifiers have had time to see it."""
    await operator.operations(desk).rotate_keys()
    return await list_keys(desk, operator)


@router.get("/audit")
async def list_audit(desk: AtDesk, _: ThisOperator, subject: OfSubject = None, limit: Limit = 100) -> AuditOut:
    """List the newest audit events, newest first."""
    of = None if subject is None else Subject(subject)
    events = await desk.context.store.read(AuditKey(subject=of, limit=limit))
    return AuditOut(events=[AuditEventOut.of(event) for event in events])


async def _shown(desk: Desk, session: DeviceSession) -> OperatorSessionOut:
    return OperatorSessionOut.of(session, client_name=await desk.client_name(session.client_id))
