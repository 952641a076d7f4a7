"""The sign-in a browser keeps: found by its cookie, made anew with every proof of identity.

A fresh id each time, also for the person who is signed in already: whoever got hold of the
old cookie does not become freshly authenticated with its owner. The device sessions under the
old one move to the new. When somebody else signs in, the one before is signed out: one
browser, one person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.method import Person, Proven
from portero.core.digests import sha256_of
from portero.core.jose import base64url
from portero.core.sessions.device_name import device_name
from portero.core.sessions.ending import end_browser_session
from portero.core.sessions.records import BrowserSession, EndReason
from portero.core.transitions import BrowserAggregate, BrowserKey, Decision, Delete, Put, User
from portero.core.types import NumericDate, Secret
from portero.core.vouched import vouched_to_json


@dataclass(frozen=True, slots=True)
class Present:
    """Who is signed in in this browser."""

    secret: Secret[str]
    session: BrowserSession
    user: User


async def find(site: Site, visit: Visit) -> Present | None:
    """Return the live sign-in of this browser.

    Raises:
        Unavailable: the store is not there; nobody is taken for signed out because of it.
    """
    secret = site.cookies.session(visit.cookies)
    if secret is None:
        return None
    found = await site.context.store.read(BrowserKey(sha256_of(secret)))
    session, user = found.browser, found.user
    if session is None or user is None or not user.enabled or session.ends <= site.context.now():
        return None
    return Present(secret, session, user)


def fresh(site: Site, visit: Visit, *, user: User, proven: Proven) -> tuple[Secret[str], BrowserSession]:
    """A new sign-in, not yet stored: the cookie's secret, and the record."""
    now = site.context.now()
    secret = Secret(base64url.encode(site.context.random.bytes(32)))
    lifetime = int(site.context.config.browser_session_lifetime.total_seconds())
    return secret, BrowserSession(
        id_digest=sha256_of(secret),
        subject=user.subject,
        auth_time=proven.auth_time,
        acr=proven.acr,
        amr=proven.amr,
        ends=NumericDate(now + lifetime),
        device=device_name(visit.user_agent),
        vouched=vouched_to_json(proven.who.vouched) if isinstance(proven.who, Person) else None,
    )


async def replace_session(site: Site, *, old: BrowserSession, new: BrowserSession) -> None:
    """Let the new sign-in of a browser take the place of the old, in one transition.

    Raises:
        Unavailable: the old one still stands, without a cookie, until its end.
    """
    terms = site.context.ending_terms()

    def decide(aggregate: BrowserAggregate) -> Decision[None]:
        if aggregate.browser is None:
            return Decision(None)
        if aggregate.browser.subject != new.subject:
            ended = end_browser_session(aggregate, reason=EndReason.SIGNED_OUT, **terms)
            return Decision(None, writes=ended.writes, events=ended.events)
        moved = tuple(Put(replace(session, browser_session=new.id_digest)) for session in aggregate.sessions)
        return Decision(None, writes=(*moved, Delete(BrowserKey(old.id_digest))))

    await site.context.commit(BrowserKey(old.id_digest), decide, now=terms["now"])
