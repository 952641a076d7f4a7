"""Device sessions as the API treats them: find, rename, and end as their owner does."""

from __future__ import annotations

from dataclasses import replace

from portero.authorization_server.api.desk import Desk, not_found
from portero.core.errors import RequestError
from portero.core.sessions.device_name import cleaned_device_name
from portero.core.sessions.ending import Ended, decide_end_session, end_everything_of
from portero.core.sessions.lifetimes import is_live
from portero.core.sessions.records import DeviceSession, EndReason
from portero.core.transitions import Decision, Put, SessionAggregate, SessionKey, SubjectAggregate, SubjectKey
from portero.core.types import Sid, Subject


async def rename(desk: Desk, sid: Sid, *, unverified_name: str, expected_subject: Subject | None) -> DeviceSession:
    """Name a live session.

    Args:
        expected_subject: whose it must be; None: an operator asks.

    Raises:
        RequestError: 422, nothing of the name can be shown; 404, no such session.
        Unavailable: nothing was changed.
    """
    name = cleaned_device_name(unverified_name)
    if name is None:
        raise RequestError("invalid_request", "name: nothing of it can be shown", status=422)
    now = desk.context.now()

    def decide(aggregate: SessionAggregate) -> Decision[DeviceSession | None]:
        session = aggregate.session
        if session is None or not is_live(session, now=now) or expected_subject not in (None, session.subject):
            return Decision(None)
        renamed = replace(session, device_name=name)
        return Decision(renamed, (Put(renamed),))

    renamed = await desk.context.commit(SessionKey(sid), decide, now=now)
    if renamed is None:
        raise not_found("session")
    return renamed


async def end_one(desk: Desk, sid: Sid, *, expected_subject: Subject) -> None:
    """End a live session, everywhere and at once.

    Raises:
        RequestError: 404, no such session.
        Unavailable: nothing was ended.
    """
    terms = desk.context.ending_terms()
    reason = EndReason.DEVICE_ENDED

    def decide(aggregate: SessionAggregate) -> Decision[Ended]:
        return decide_end_session(aggregate, reason=reason, expected_subject=expected_subject, **terms)

    if not await desk.context.commit(SessionKey(sid), decide, now=terms["now"]):
        raise not_found("session")


async def end_many(desk: Desk, subject: Subject, *, but: Sid | None = None) -> Ended:
    """End a person's sessions and sign-ins.

    Args:
        but: spare this session, and all of the browser it belongs to, as the account page does.

    Raises:
        Unavailable: nothing was ended.
    """
    terms = desk.context.ending_terms()
    reason = EndReason.SIGNED_OUT_EVERYWHERE

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        return end_everything_of(_without(aggregate, but), reason=reason, **terms)

    return await desk.context.commit(SubjectKey(subject), decide, now=terms["now"])


def _without(aggregate: SubjectAggregate, sid: Sid | None) -> SubjectAggregate:
    spared = next((session for session in aggregate.sessions if session.sid == sid), None)
    if spared is None:
        return aggregate
    browser = spared.browser_session
    return replace(
        aggregate,
        sessions=tuple(
            each
            for each in aggregate.sessions
            if each.sid != sid and (browser is None or each.browser_session != browser)
        ),
        browsers=tuple(each for each in aggregate.browsers if each.id_digest != browser),
    )
