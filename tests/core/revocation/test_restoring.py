"""What a replay makes true again; the command and its page are in tests/cli/test_restore.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.restoring import end_after_restore, forget_browsers, replay_session
from portero.core.sessions.records import SessionStatus
from portero.core.transitions import BrowserKey, Delete, Revoke, SessionAggregate, SubjectAggregate
from portero.core.types import Issuer, NumericDate
from portero.testing.store_samples import NOW, browser_session, device_session

ISS = Issuer("https://portero.example")
LIVE = device_session()
UNTIL = NumericDate(LIVE.last_access_exp + 5000)
LATER = Revocation(ISS, RevokedKind.SESSION, LIVE.sid, NOW, UNTIL)


def revoked(decision: object) -> list[Revocation]:
    return [write.revocation for write in decision.writes if isinstance(write, Revoke)]


def test_a_session_the_backup_shows_live_is_ended_for_as_long_as_the_file_says() -> None:
    """The backup's own `last_access_exp` is too early."""
    decision = replay_session(SessionAggregate(LIVE, None), revocation=LATER, in_feed=False, now=NOW, leeway=60)

    assert [session.status for session in decision.result] == [SessionStatus.ENDED]
    assert [revocation.until for revocation in revoked(decision)] == [UNTIL]


def test_an_end_never_gets_shorter() -> None:
    """Where the backup knows of a younger access token than the file."""
    decision = end_after_restore(SessionAggregate(LIVE, None), until=NumericDate(1), now=NOW, iss=ISS, leeway=60)

    assert [revocation.until for revocation in revoked(decision)] == [LIVE.last_access_exp + 60]


@pytest.mark.parametrize("session", [None, replace(LIVE, status=SessionStatus.ENDED)], ids=["unknown", "ended"])
@pytest.mark.parametrize(("now", "in_feed", "told"), [(UNTIL - 1, False, 1), (UNTIL, False, 0), (UNTIL - 1, True, 0)])
def test_the_feed_is_told_once_and_while_it_matters(session: object, now: int, in_feed: bool, told: int) -> None:
    """Of sessions the backup does not know, and of those that had ended in it."""
    aggregate = SessionAggregate(session, None)
    decision = replay_session(aggregate, revocation=LATER, in_feed=in_feed, now=NumericDate(now), leeway=60)

    assert revoked(decision) == [LATER] * told
    assert decision.result == ()


def test_a_session_that_is_not_there_is_not_ended() -> None:
    """It was swept meanwhile."""
    decision = end_after_restore(SessionAggregate(None, None), until=UNTIL, now=NOW, iss=ISS, leeway=60)

    assert (decision.result, decision.writes) == ((), ())


def test_browsers_are_forgotten_and_counted() -> None:
    """All of a person's."""
    browsers = (browser_session("one"), browser_session("two"))
    decision = forget_browsers(SubjectAggregate(None, (), browsers))

    assert decision.result == 2
    assert decision.writes == tuple(Delete(BrowserKey(browser.id_digest)) for browser in browsers)
