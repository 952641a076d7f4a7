"""Whose account an identity elsewhere is, and the account that is made where it is nobody's yet.

One transition on the link itself: of two first sign-ins at once, one makes the account and both find it.
"""

from __future__ import annotations

from portero.authorization_server.pages.site import Site
from portero.authorization_server.sign_in.method import Person
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.linked import LinkedIdentity
from portero.core.transitions import Audit, Decision, LinkedKey, Put, SubjectKey, User, UsernameKey
from portero.core.types import Subject


async def linked_person(site: Site, person: Person) -> User:
    """Return the account, made now where it may be.

    Raises:
        RequestError: `no_account`: there is none and none is made, or it is disabled. The person is told the same.
        Unavailable: nothing was made.
    """
    store = site.context.store
    key = LinkedKey(person.vouched.provider, person.vouched.external)
    linked = await store.read(key)
    if linked is None and person.create:
        linked = await _made(site, person, key)
    user = None if linked is None else (await store.read(SubjectKey(linked.subject))).user
    if user is None or not user.enabled:
        raise RequestError("no_account", "there is no account for this identity", status=403)
    return user


async def _made(site: Site, person: Person, key: LinkedKey) -> LinkedIdentity:
    now = site.context.now()
    subject = Subject(site.context.random.bytes(16).hex())
    user = User(
        subject=subject,
        username=await _free_username(site, person, subject),
        password_hash=None,
        name=person.name,
        email=person.email,
        roles=(),
        created=now,
    )
    link = LinkedIdentity(key.provider, key.external, subject, person.label, now)
    event = Event(EventName.USER_CHANGED, now, subject=subject, fields={"change": "added", "by": key.provider})

    def decide(stored: LinkedIdentity | None) -> Decision[LinkedIdentity]:
        if stored is not None:
            return Decision(stored)
        return Decision(link, (Put(user), Put(link), Audit(event)), (event,))

    return await site.context.commit(key, decide, now=now)


async def _free_username(site: Site, person: Person, subject: Subject) -> str:
    name = f"{person.label} ({person.vouched.provider})"[:100]
    taken = (await site.context.store.read(UsernameKey(name))).user is not None
    return f"{name} {subject[:12]}" if taken else name
