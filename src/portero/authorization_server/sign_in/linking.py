"""Whose account an identity elsewhere is, and the account that is made where it is nobody's yet.

One transition on the link itself: of two first sign-ins at once, one makes the account and both find it.
"""

from __future__ import annotations

from portero.authorization_server.pages.site import Site
from portero.authorization_server.sign_in.method import Person
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.linked import LinkedIdentity
from portero.core.oauth.authorization import AuthorizationRequest, refused
from portero.core.transitions import Audit, Decision, LinkedKey, Put, SubjectKey, User, UsernameKey
from portero.core.types import Subject


async def person_meant(site: Site, who: User | Person, *, request: AuthorizationRequest | None) -> User:
    """Return the account of somebody who has proven who they are, made now where it may be.

    Args:
        request: what an application waits for with this sign-in.

    Raises:
        RedirectedError: `login_required`: the application waits for somebody else (OIDC Core §3.1.2.1).
        RequestError: `no_account`: nobody here is linked to who was vouched for and nobody is made, or that account
            is disabled. The person is told the same.
        Unavailable: nothing was made.
    """
    expected = None if request is None else request.expected_subject
    # Who was never here is not who is expected: no account is made only to be refused.
    user = await _linked_person(site, who, create=expected is None) if isinstance(who, Person) else who
    if request is not None and expected is not None and (user is None or user.subject != expected):
        raise refused(request, "login_required", "another person signed in")
    if user is None:
        raise RequestError("no_account", "there is no account for this identity", status=403)
    return user


async def _linked_person(site: Site, person: Person, *, create: bool) -> User | None:
    store = site.context.store
    key = LinkedKey(person.vouched.provider, person.vouched.external)
    linked = await store.read(key)
    if linked is None and person.create and create:
        linked = await _made(site, person, key)
    user = None if linked is None else (await store.read(SubjectKey(linked.subject))).user
    return user if user is not None and user.enabled else None


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
