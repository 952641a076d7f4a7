"""An identity that came back to be linked: kept until the person says that it is theirs, and never a sign-in.

Two things stand against whoever would have their own identity linked to somebody else's account: only the browser
session that asked, freshly signed in, gets here; and the person sees whom they link before it counts, since the
provider may have been left signed in by another.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.method import Person, Proven
from portero.authorization_server.sign_in.transactions import PendingLink, Transaction
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.linked import LinkedIdentity
from portero.core.transitions import (
    Audit,
    Decision,
    Delete,
    LinkedIdentitiesKey,
    LinkedKey,
    LoginKey,
    LoginTransaction,
    Put,
    Write,
)
from portero.core.types import Subject

WAYS_PATH = "/account/sign-in"


async def keep_found(
    site: Site, visit: Visit, proven: Proven, *, transaction: Transaction, pending: PendingLink
) -> Response:
    """Keep who was vouched for, and ask the person.

    Raises:
        RequestError: `sign_in_elsewhere`: another browser session than the one that asked; `invalid_request`: this
            way to sign in has nobody who vouches, or another than was asked for.
        Unavailable: nothing was kept.
    """
    await asked_by(site, visit, pending)
    who = proven.who
    if not isinstance(who, Person) or who.vouched.provider != pending.provider:
        raise RequestError("invalid_request", "nothing can be linked by this way to sign in")
    record = transaction.found(replace(pending, external=who.vouched.external, label=who.label))

    def decide(stored: LoginTransaction | None) -> Decision[bool]:
        return Decision(False) if stored is None else Decision(True, (Put(record),))

    if not await site.context.commit(LoginKey(record.id_digest), decide, now=site.context.now()):
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="expired meanwhile")
    return see_other(site.path(f"{WAYS_PATH}/confirm?login={transaction.handle}&ui_locales={visit.language}"))


async def asked_by(site: Site, visit: Visit, pending: PendingLink) -> Present:
    """Return the sign-in that asked for the link.

    Raises:
        RequestError: `sign_in_elsewhere`: it is over, or another took its place.
    """
    present = await browser_session.find(site, visit)
    if present is None or present.session.id_digest != pending.browser:
        raise RequestError("sign_in_elsewhere", "this link is not under way here", detail="another browser session")
    return present


async def link(site: Site, present: Present, *, transaction: Transaction, pending: PendingLink) -> bool:
    """Link who was found, once. Returns False where the identity is somebody else's.

    Raises:
        RequestError: `sign_in_elsewhere`: nobody came back yet.
        Unavailable: nothing was linked.
    """
    if pending.external is None:
        raise RequestError("sign_in_elsewhere", "nobody came back to be linked", detail="no identity yet")
    now, mine = site.context.now(), present.session.subject
    made = LinkedIdentity(pending.provider, pending.external, mine, pending.label, now)
    event = Event(EventName.USER_CHANGED, now, subject=mine, fields={"change": "linked", "by": pending.provider})
    over = Delete(LoginKey(transaction.record.id_digest))

    def decide(stored: LinkedIdentity | None) -> Decision[bool]:
        if stored is not None:
            return Decision(stored.subject == mine, (over,))
        return Decision(True, (Put(made), over, Audit(event)), (event,))

    return await site.context.commit(LinkedKey(made.provider, made.external), decide, now=now)


async def unlink(site: Site, subject: Subject, key: LinkedKey, *, usable: frozenset[str], password: bool) -> bool:
    """Take a link back. Returns False where the person could not sign in any more without it.

    Args:
        usable: the providers that have a door here.
        password: a password opens the account too.

    Raises:
        Unavailable: it still stands.
    """
    now = site.context.now()
    event = Event(EventName.USER_CHANGED, now, subject=subject, fields={"change": "unlinked", "by": key.provider})

    def decide(links: tuple[LinkedIdentity, ...]) -> Decision[bool]:
        taken = [each for each in links if each.id_digest == key.id_digest]
        if not taken:
            return Decision(True)
        if is_last_way(taken[0], links, usable=usable, password=password):
            return Decision(False)
        writes: tuple[Write, ...] = (Delete(key), Audit(event))
        return Decision(True, writes, (event,))

    return await site.context.commit(LinkedIdentitiesKey(subject), decide, now=now)


def is_last_way(
    link: LinkedIdentity, links: tuple[LinkedIdentity, ...], *, usable: frozenset[str], password: bool
) -> bool:
    """Say whether nothing else opens the account."""
    others = any(each.provider in usable for each in links if each.id_digest != link.id_digest)
    return link.provider in usable and not password and not others
