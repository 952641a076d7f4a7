"""Ending sessions: what must be written together, whoever asks for it.

Ending a device session ends its families (a family is over when its session is) and the browser session it
came from: otherwise the browser of a stolen laptop silently opens a new one. The revocation stands in the same
transaction and lasts until the session's last access token has expired everywhere; so does the notice for
whoever is to be told (back-channel logout, event streams). Everything is idempotent:
ending what has ended writes nothing.

A function that takes an aggregate returns a `Decision` whose result is the device sessions it ended, for
back-channel logout and for the page that says how many there were.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from portero.core.events import Event, EventName
from portero.core.outbox_records import Notice
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.sessions.records import BrowserSession, DeviceSession, EndReason, SessionStatus
from portero.core.transitions import (
    Audit,
    BrowserAggregate,
    BrowserKey,
    Client,
    ClientAggregate,
    ConsentKey,
    Decision,
    Delete,
    FamilyAggregate,
    Notify,
    Put,
    Revoke,
    SessionAggregate,
    SubjectAggregate,
    Write,
)
from portero.core.types import ClientId, Issuer, NumericDate, Sid, Subject

_NAMES: Final = {
    EndReason.SIGNED_OUT: EventName.SIGNED_OUT,
    EndReason.SIGNED_OUT_EVERYWHERE: EventName.SIGNED_OUT,
    EndReason.REFRESH_REUSED: EventName.REFRESH_REUSED,
    EndReason.CODE_REUSED: EventName.CODE_REUSED,
}
"""What the audit trail calls an end, where it has a name of its own."""

Ended = tuple[DeviceSession, ...]


def end_device_session(
    session: DeviceSession, *, reason: EndReason, now: NumericDate, iss: Issuer, leeway: int
) -> tuple[Write, ...]:
    """End one device session, with its families and the browser session it came from.

    Args:
        leeway: seconds the fleet's verifiers tolerate past `exp`.

    Returns:
        What to commit together; empty where the session has ended before.
    """
    if session.status is SessionStatus.ENDED:
        return ()
    writes: list[Write] = [Put(ended(session, reason=reason))]
    if session.browser_session is not None:
        writes.append(Delete(BrowserKey(session.browser_session)))
    # Also where the last access token has expired everywhere: no follower is told, but the revocations file, from
    # which a restore learns of ends that its backup does not know, needs every one (decision 0151).
    until = NumericDate(session.last_access_exp + leeway)
    writes.append(Revoke(Revocation(iss, RevokedKind.SESSION, session.sid, now, until)))
    writes.append(Notify(Notice(session.sid, session.subject, session.client_id, reason, now)))
    writes.append(Audit(_event(session, reason, now)))
    return tuple(writes)


def ended(session: DeviceSession, *, reason: EndReason) -> DeviceSession:
    """Return the session as it reads once it has ended."""
    return replace(session, status=SessionStatus.ENDED, end_reason=reason)


def decide_end_session(
    aggregate: SessionAggregate,
    *,
    reason: EndReason,
    now: NumericDate,
    iss: Issuer,
    leeway: int,
    expected_subject: Subject | None = None,
) -> Decision[Ended]:
    """End the device session a person or an operator named.

    Args:
        expected_subject: whose it must be; anybody else's is left alone, as if it did not exist. None: an
            operator asks.
    """
    session = aggregate.session
    if session is None or (expected_subject is not None and session.subject != expected_subject):
        return Decision(())
    return _end_all((session,), (), reason=reason, now=now, iss=iss, leeway=leeway)


def decide_token_revocation(
    aggregate: FamilyAggregate,
    *,
    client_id: ClientId,
    now: NumericDate,
    iss: Issuer,
    leeway: int,
) -> Decision[Ended]:
    """End the device session of an authentic refresh token, of whatever generation (RFC 7009 §2.1).

    Another client's token is left alone; the answer is the same (RFC 7009 §2.2: 200 for a token that is
    invalid to this client).
    """
    family, session = aggregate.family, aggregate.session
    if family is None or session is None or family.client_id != client_id:
        return Decision(())
    return _end_all((session,), (), reason=EndReason.TOKEN_REVOKED, now=now, iss=iss, leeway=leeway)


def end_browser_session(
    aggregate: BrowserAggregate, *, reason: EndReason, now: NumericDate, iss: Issuer, leeway: int
) -> Decision[Ended]:
    """Sign out at the authorization server: the browser session and all device sessions under it."""
    browsers = () if aggregate.browser is None else (aggregate.browser,)
    return _end_all(aggregate.sessions, browsers, reason=reason, now=now, iss=iss, leeway=leeway)


def end_other_sessions(
    aggregate: SubjectAggregate, *, keep: Sid, reason: EndReason, now: NumericDate, iss: Issuer, leeway: int
) -> Decision[Ended]:
    """End everything of a person but one device session and the browser session it came from.

    Device sessions of the same browser for other clients end too, and with them no browser session is
    removed that the kept one came from.
    """
    kept = next((session for session in aggregate.sessions if session.sid == keep), None)
    kept_browser = None if kept is None else kept.browser_session
    return _end_all(
        tuple(session for session in aggregate.sessions if session.sid != keep),
        tuple(browser for browser in aggregate.browsers if browser.id_digest != kept_browser),
        reason=reason,
        now=now,
        iss=iss,
        leeway=leeway,
        spare=None if kept_browser is None else BrowserKey(kept_browser),
    )


def end_everything_of(
    aggregate: SubjectAggregate, *, reason: EndReason, now: NumericDate, iss: Issuer, leeway: int
) -> Decision[Ended]:
    """End every device session and browser session of a person."""
    return _end_all(aggregate.sessions, aggregate.browsers, reason=reason, now=now, iss=iss, leeway=leeway)


def withdraw_consent(
    aggregate: SubjectAggregate, *, subject: Subject, client_id: ClientId, now: NumericDate, iss: Issuer, leeway: int
) -> Decision[Ended]:
    """Forget that a person agreed with a client, and end what the client has of theirs.

    Their browsers stay signed in: it is one application that they distrust.
    """
    sessions = tuple(session for session in aggregate.sessions if session.client_id == client_id)
    ending = _end_all(sessions, (), reason=EndReason.CONSENT_WITHDRAWN, now=now, iss=iss, leeway=leeway)
    event = Event(EventName.CONSENT_WITHDRAWN, now, subject, client_id)
    kept = tuple(write for write in ending.writes if not isinstance(write, Delete))
    writes = (Delete(ConsentKey(subject, client_id)), Audit(event), *kept)
    return Decision(ending.result, writes, (event, *ending.events))


def disable_user(aggregate: SubjectAggregate, *, now: NumericDate, iss: Issuer, leeway: int) -> Decision[Ended]:
    """Disable a person and end everything of theirs."""
    decision = end_everything_of(aggregate, reason=EndReason.USER_DISABLED, now=now, iss=iss, leeway=leeway)
    user = aggregate.user
    if user is None or not user.enabled:
        return decision
    event = Event(EventName.USER_CHANGED, now, user.subject, fields={"enabled": "false"})
    writes = (Put(replace(user, enabled=False)), Audit(event), *decision.writes)
    return Decision(decision.result, writes, (event, *decision.events))


def disable_client(
    aggregate: ClientAggregate, *, now: NumericDate, iss: Issuer, leeway: int, access_token_lifetime: int
) -> Decision[Client | None]:
    """Disable a client: nothing more is issued to it, and what was is taken back by its name.

    Its device sessions are not rewritten one by one: a refresh needs an enabled client, and the feed names
    the client until the youngest access token it could have has expired everywhere.

    Returns:
        The client as it now stands; None where there is none.
    """
    client = aggregate.client
    if client is None or not client.enabled:
        return Decision(client)
    disabled = replace(client, enabled=False)
    until = NumericDate(now + access_token_lifetime + leeway)
    event = Event(EventName.CLIENT_CHANGED, now, client_id=client.client_id, fields={"enabled": "false"})
    revocation = Revocation(iss, RevokedKind.CLIENT, client.client_id, now, until)
    return Decision(disabled, (Put(disabled), Revoke(revocation), Audit(event)), (event,))


def _end_all(
    sessions: tuple[DeviceSession, ...],
    browsers: tuple[BrowserSession, ...],
    *,
    reason: EndReason,
    now: NumericDate,
    iss: Issuer,
    leeway: int,
    spare: BrowserKey | None = None,
) -> Decision[Ended]:
    writes: list[Write] = []
    closed: list[DeviceSession] = []
    browser_keys = {BrowserKey(browser.id_digest): None for browser in browsers}  # each once, in order
    for session in sessions:
        ending = end_device_session(session, reason=reason, now=now, iss=iss, leeway=leeway)
        if ending:
            closed.append(ended(session, reason=reason))
            writes += [write for write in ending if not isinstance(write, Delete)]
            if session.browser_session is not None:
                browser_keys[BrowserKey(session.browser_session)] = None
    writes += [Delete(key) for key in browser_keys if key != spare]
    events = tuple(_event(session, reason, now) for session in closed)
    return Decision(tuple(closed), tuple(writes), events)


def _event(session: DeviceSession, reason: EndReason, now: NumericDate) -> Event:
    name = _NAMES.get(reason, EventName.SESSION_ENDED)
    return Event(name, now, session.subject, session.client_id, session.sid, {"reason": reason.value})
