"""How long things live, and what a success moves. Whole seconds; nothing here ever goes back."""

from __future__ import annotations

from portero.core.sessions.records import DeviceSession, SessionStatus
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.types import NumericDate


def is_live(session: DeviceSession, *, now: NumericDate) -> bool:
    """Whether the session may still be used: not ended, before its absolute and its idle end."""
    return session.status is SessionStatus.ACTIVE and now < session.absolute_end and now < session.idle_end


def access_token_exp(
    absolute_end: NumericDate, *, now: NumericDate, rules: RefreshRules, fresh: FreshMaterial
) -> NumericDate:
    """Fix an access token's `exp`: its lifetime less some jitter, never past the session's absolute end."""
    lifetime = rules.access_token_lifetime
    exp = now + lifetime - int(lifetime * rules.access_token_jitter * fresh.jitter)
    return NumericDate(min(exp, absolute_end))


def refresh_after(exp: NumericDate, *, now: NumericDate, rules: RefreshRules) -> int:
    """Return the seconds until a proactive refresh is welcome."""
    return (exp - now) * rules.refresh_after_percent // 100


def touch(
    session: DeviceSession, *, exp: NumericDate, now: NumericDate, rules: RefreshRules, place: str | None
) -> DeviceSession:
    """Note a success: last seen, the newest access token's `exp`, and the idle end. None of them ever goes back,
    whatever the clock does, and the idle end never passes the absolute end."""
    return DeviceSession(
        session.sid,
        session.browser_session,
        session.subject,
        session.client_id,
        session.device_name,
        session.place if place is None else place,
        session.created,
        max(session.last_seen, now),
        max(session.last_access_exp, exp),
        session.absolute_end,
        NumericDate(max(session.idle_end, min(now + rules.idle_lifetime, session.absolute_end))),
        session.status,
        session.end_reason,
        session.status_index,
    )


def refresh_token_expires(session: DeviceSession, *, now: NumericDate, rules: RefreshRules) -> NumericDate:
    """Fix a new refresh token's end: its lifetime, never past the session's absolute end."""
    return NumericDate(min(now + rules.refresh_token_lifetime, session.absolute_end))
