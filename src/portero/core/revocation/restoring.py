"""After a restore: make true again what the backup does not know of.

A backup shows sessions live that were ended since. The revocations file names them; each is ended again, and the feed
told until the youngest access token it may have has expired. Everything is idempotent: a restore that was
interrupted is run again.

Leaves to the caller: reading the file, which entries are news, the epoch.
"""

from __future__ import annotations

from dataclasses import replace

from portero.core.revocation.entry import Revocation
from portero.core.sessions.ending import Ended, decide_end_session
from portero.core.sessions.records import EndReason, SessionStatus
from portero.core.transitions import BrowserKey, Decision, Delete, Revoke, SessionAggregate, SubjectAggregate
from portero.core.types import Issuer, NumericDate


def end_after_restore(
    aggregate: SessionAggregate, *, until: NumericDate, now: NumericDate, iss: Issuer, leeway: int
) -> Decision[Ended]:
    """End a session of a restored database.

    Args:
        until: when its youngest access token has expired everywhere, leeway included. The session's own
            `last_access_exp` is the backup's and may be too early.
    """
    session = aggregate.session
    if session is None:
        return Decision(())
    exp = NumericDate(max(session.last_access_exp, until - leeway))
    known = replace(aggregate, session=replace(session, last_access_exp=exp))
    return decide_end_session(known, reason=EndReason.OPERATOR, now=now, iss=iss, leeway=leeway)


def replay_session(
    aggregate: SessionAggregate, *, revocation: Revocation, in_feed: bool, now: NumericDate, leeway: int
) -> Decision[Ended]:
    """Carry out a session's revocation from the file again.

    Args:
        in_feed: whether the feed tells of it already, for at least as long.
    """
    session = aggregate.session
    if session is not None and session.status is SessionStatus.ACTIVE:
        return end_after_restore(aggregate, until=revocation.until, now=now, iss=revocation.iss, leeway=leeway)
    # Unknown to the backup, or ended in it: its access tokens may still be about.
    if in_feed or revocation.until <= now:
        return Decision(())
    return Decision((), (Revoke(revocation),))


def forget_browsers(aggregate: SubjectAggregate) -> Decision[int]:
    """Remove a person's browser sessions; returns how many. A sign-out that the backup does not know of cannot be
    told from a sign-in that goes on, and the password is asked for once more."""
    keys = tuple(Delete(BrowserKey(browser.id_digest)) for browser in aggregate.browsers)
    return Decision(len(keys), keys)
