"""What an end writes, who may ask for it, and that asking twice changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.events import EventName
from portero.core.outbox_records import Notice
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.sessions.ending import (
    decide_end_session,
    decide_token_revocation,
    disable_client,
    disable_user,
    end_browser_session,
    end_device_session,
    end_everything_of,
    end_other_sessions,
)
from portero.core.sessions.records import BrowserSession, DeviceSession, EndReason, SessionStatus
from portero.core.transitions import (
    Audit,
    BrowserAggregate,
    BrowserKey,
    ClientAggregate,
    Delete,
    FamilyAggregate,
    Notify,
    Put,
    Revoke,
    SessionAggregate,
    SubjectAggregate,
    Write,
)
from portero.core.types import ClientId, Digest, NumericDate, Sid, Subject
from tests.core.sessions.worlds import ISS, NOW, PAGE, RULES, USER, at, world

LAPTOP, PHONE = Digest(b"l" * 32), Digest(b"p" * 32)
ENDS = {"now": NOW, "iss": ISS, "leeway": 60}


def browser(id_digest: Digest) -> BrowserSession:
    return BrowserSession(id_digest, USER.subject, NOW, "1", ("pwd",), at(3600), "Firefox · Linux")


def session(sid: str, *, browser_session: Digest | None = LAPTOP, exp: int = 300) -> DeviceSession:
    base = world().session
    return replace(base, sid=Sid(sid), browser_session=browser_session, last_access_exp=at(exp))


def ended_sids(writes: tuple[Write, ...]) -> list[str]:
    return [
        write.record.sid
        for write in writes
        if isinstance(write, Put)
        and isinstance(write.record, DeviceSession)
        and write.record.status is SessionStatus.ENDED
    ]


def removed(writes: tuple[Write, ...]) -> list[Digest]:
    return [w.key.id_digest for w in writes if isinstance(w, Delete) and isinstance(w.key, BrowserKey)]


def test_an_end_is_five_writes_in_one_commit() -> None:
    """Session, browser session, feed, notice, audit: none without the others."""
    ended, browser_gone, revoke, notify, audit = end_device_session(session("s"), reason=EndReason.SIGNED_OUT, **ENDS)

    assert isinstance(ended, Put)
    assert isinstance(ended.record, DeviceSession)
    assert (ended.record.status, ended.record.end_reason) == (SessionStatus.ENDED, EndReason.SIGNED_OUT)
    assert browser_gone == Delete(BrowserKey(LAPTOP))
    assert revoke == Revoke(Revocation(ISS, RevokedKind.SESSION, "s", NOW, at(360)))
    assert notify == Notify(Notice(Sid("s"), USER.subject, PAGE.client_id, EndReason.SIGNED_OUT, NOW))
    assert isinstance(audit, Audit)
    assert (audit.event.name, audit.event.fields) == (EventName.SIGNED_OUT, {"reason": "signed_out"})


def test_ending_the_ended_writes_nothing() -> None:
    """Idempotent: no second feed entry, no second audit row, and the first reason stays."""
    over = replace(session("s"), status=SessionStatus.ENDED, end_reason=EndReason.OPERATOR)

    assert end_device_session(over, reason=EndReason.SIGNED_OUT, **ENDS) == ()


@pytest.mark.parametrize("exp", [-3600, -60, -59, 300])
def test_every_end_is_a_revocation_until_its_last_token_has_expired(exp: int) -> None:
    """Long past as well: followers are told of live entries only, the revocations file keeps all (decision 0151)."""
    writes = end_device_session(session("s", exp=exp), reason=EndReason.OPERATOR, **ENDS)

    assert [write.revocation.until for write in writes if isinstance(write, Revoke)] == [at(exp + 60)]


def test_a_session_without_a_browser_removes_none() -> None:
    """A grant without a browser opened it."""
    writes = end_device_session(session("s", browser_session=None), reason=EndReason.OPERATOR, **ENDS)

    assert removed(writes) == []


def test_a_person_ends_only_their_own_device() -> None:
    """Somebody else's `sid` is as good as none."""
    own = SessionAggregate(session("s"), USER)

    mine = decide_end_session(own, reason=EndReason.DEVICE_ENDED, expected_subject=USER.subject, **ENDS)
    theirs = decide_end_session(own, reason=EndReason.DEVICE_ENDED, expected_subject=Subject("eve"), **ENDS)
    nobodys = decide_end_session(SessionAggregate(None, None), reason=EndReason.DEVICE_ENDED, **ENDS)

    assert ended_sids(mine.writes) == ["s"]
    assert [found.sid for found in mine.result] == ["s"]
    assert (theirs.writes, nobodys.writes) == ((), ())


def test_revocation_by_token_is_for_its_own_client() -> None:
    """RFC 7009 §2.1: "verifies whether the token was issued to the client making the revocation request"."""
    made = world()
    found = FamilyAggregate(made.family, made.session, USER)

    own = decide_token_revocation(found, client_id=PAGE.client_id, **ENDS)
    other = decide_token_revocation(found, client_id=ClientId("stranger"), **ENDS)
    gone = decide_token_revocation(FamilyAggregate(None, None, None), client_id=PAGE.client_id, **ENDS)

    assert ended_sids(own.writes) == [made.session.sid]
    assert own.result[0].end_reason is EndReason.TOKEN_REVOKED
    assert (other.writes, gone.writes) == ((), ())


def test_signing_out_ends_the_browser_and_all_under_it() -> None:
    """One browser session, two clients: both device sessions end, and the browser session is removed once."""
    aggregate = BrowserAggregate(browser(LAPTOP), (session("shop"), session("mail")), USER)

    decision = end_browser_session(aggregate, reason=EndReason.SIGNED_OUT, **ENDS)

    assert ended_sids(decision.writes) == ["shop", "mail"]
    assert removed(decision.writes) == [LAPTOP]


def test_signing_out_without_device_sessions_still_removes_the_browser() -> None:
    """The cookie must not open a new one."""
    decision = end_browser_session(BrowserAggregate(browser(LAPTOP), (), USER), reason=EndReason.SIGNED_OUT, **ENDS)

    assert decision.writes == (Delete(BrowserKey(LAPTOP)),)


def test_ending_all_others_spares_this_device_and_its_browser() -> None:
    """Even where another client's session of the same browser ends."""
    aggregate = SubjectAggregate(
        USER,
        (session("here"), session("here, other client"), session("there", browser_session=PHONE)),
        (browser(LAPTOP), browser(PHONE)),
    )

    decision = end_other_sessions(aggregate, keep=Sid("here"), reason=EndReason.DEVICE_ENDED, **ENDS)

    assert ended_sids(decision.writes) == ["here, other client", "there"]
    assert removed(decision.writes) == [PHONE]


def test_ending_everything_leaves_nothing() -> None:
    """All device sessions and all browser sessions, also one nobody used yet."""
    aggregate = SubjectAggregate(
        USER, (session("a"), session("b", browser_session=None)), (browser(LAPTOP), browser(PHONE))
    )

    decision = end_everything_of(aggregate, reason=EndReason.PASSWORD_CHANGED, **ENDS)

    assert ended_sids(decision.writes) == ["a", "b"]
    assert removed(decision.writes) == [LAPTOP, PHONE]
    assert len(decision.events) == 2


def test_disabling_a_person_ends_all_of_theirs_once() -> None:
    """Again: nothing is written."""
    aggregate = SubjectAggregate(USER, (session("a"),), (browser(LAPTOP),))
    decision = disable_user(aggregate, now=NOW, iss=ISS, leeway=60)

    again = disable_user(SubjectAggregate(replace(USER, enabled=False), (), ()), now=NOW, iss=ISS, leeway=60)

    assert Put(replace(USER, enabled=False)) in decision.writes
    assert ended_sids(decision.writes) == ["a"]
    assert again.writes == ()


def test_disabling_a_client_names_it_in_the_feed() -> None:
    """Until the youngest access token it could have has expired everywhere; again: nothing."""
    decision = disable_client(ClientAggregate(PAGE), now=NOW, iss=ISS, leeway=60, access_token_lifetime=300)
    disabled = decision.result
    assert disabled is not None
    again = disable_client(ClientAggregate(disabled), now=NOW, iss=ISS, leeway=60, access_token_lifetime=300)
    nobody = disable_client(ClientAggregate(None), now=NOW, iss=ISS, leeway=60, access_token_lifetime=300)

    assert not disabled.enabled
    assert Revoke(Revocation(ISS, RevokedKind.CLIENT, "page", NOW, at(360))) in decision.writes
    assert (again.writes, nobody.result, nobody.writes) == ((), None, ())


def test_the_clock_of_an_end_is_an_argument() -> None:
    """`until` comes from the session, `at` from now."""
    late = NumericDate(NOW + 200)
    writes = end_device_session(session("s"), reason=EndReason.OPERATOR, now=late, iss=ISS, leeway=RULES.leeway)

    revoke = next(write for write in writes if isinstance(write, Revoke))
    assert (revoke.revocation.at, revoke.revocation.until) == (late, at(360))
