"""Opening or joining a device session, and starting a family in it.

One browser session × one client is one device session (one `sid`, one line on the person's page); each code
grant starts a family in it. A page that keeps its tokens in memory starts one per reload, so a session holds
at most ten live families, and one more ends the oldest.
"""

from __future__ import annotations

from dataclasses import dataclass

from portero.core.digests import sha256_of
from portero.core.jose.base64url import encode
from portero.core.sessions.lifetimes import is_live, refresh_token_expires
from portero.core.sessions.records import DeviceSession, Family, Profile, TokenRecord
from portero.core.sessions.rules import FreshStart, RefreshRules, profile_of
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.transitions import Client, ClientType, Delete, FamilyKey, Put, Write
from portero.core.types import ClientId, Digest, NumericDate, Sid, Subject


@dataclass(frozen=True, slots=True)
class Joined:
    """The device session a grant belongs to. Not yet written: the caller puts it once, with what else moved."""

    session: DeviceSession
    opened: bool
    """Whether it is new."""


@dataclass(frozen=True, slots=True)
class Started:
    """A new family, its first refresh token, and what to commit."""

    family: Family
    refresh_token: RefreshToken
    writes: tuple[Write, ...]


def open_or_join(
    existing: DeviceSession | None,
    *,
    browser_session: Digest | None,
    subject: Subject,
    client_id: ClientId,
    device_name: str,
    place: str,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshStart,
) -> Joined:
    """Join the live device session of this browser session and client, or open one.

    A joined session keeps its name (the person may have renamed it) and its absolute end, which never moves.

    Args:
        existing: what the store holds for this browser session and client; used only where it is live and the
            same person's.
        browser_session: None: a grant without a browser, which always opens its own.
        place: coarse; see `device_name.coarse_place`.
    """
    if (
        existing is not None
        and browser_session is not None
        and existing.browser_session == browser_session
        and existing.subject == subject
        and existing.client_id == client_id
        and is_live(existing, now=now)
    ):
        return Joined(existing, opened=False)
    absolute_end = NumericDate(now + rules.session_lifetime)
    session = DeviceSession(
        sid=Sid(encode(fresh.sid)),
        browser_session=browser_session,
        subject=subject,
        client_id=client_id,
        device_name=device_name,
        place=place,
        created=now,
        last_seen=now,
        last_access_exp=now,
        absolute_end=absolute_end,
        idle_end=NumericDate(min(now + rules.idle_lifetime, absolute_end)),
        status_index=fresh.status_index,
    )
    return Joined(session, opened=True)


def start_family(
    session: DeviceSession,
    families: tuple[Family, ...],
    *,
    client: Client,
    scope: tuple[str, ...],
    resource: tuple[str, ...],
    cnf_jkt: str | None,
    acr: str,
    amr: tuple[str, ...],
    auth_time: NumericDate | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshStart,
    vouched: str | None = None,
) -> Started:
    """Start a chain of refresh tokens. Its profile is fixed here.

    Args:
        families: the session's live families, oldest first.
        cnf_jkt: thumbprint of the key whose DPoP proof came with the grant. Only a public client's family is
            bound to it: a confidential one is bound by its credential (RFC 9449 §5).
    """
    material = fresh.material
    head = TokenRecord(
        sha256_of(material.secret), 0, issued=now, expires=refresh_token_expires(session, now=now, rules=rules)
    )
    profile = profile_of(client, cnf_jkt=cnf_jkt)
    family = Family(
        id=fresh.family_id,
        sid=session.sid,
        client_id=client.client_id,
        scope=scope,
        resource=resource,
        cnf_jkt=cnf_jkt if profile is Profile.BOUND and client.client_type is ClientType.PUBLIC else None,
        profile=profile,
        acr=acr,
        amr=amr,
        auth_time=auth_time,
        created=now,
        head=head,
        vouched=vouched,
    )
    surplus = len(families) + 1 - rules.families_per_session
    writes: list[Write] = [Delete(FamilyKey(oldest.id)) for oldest in families[: max(0, surplus)]]
    writes.append(Put(family))
    return Started(family, RefreshToken(family.id, 0, material.secret), tuple(writes))
