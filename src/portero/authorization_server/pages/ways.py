"""`/account/sign-in`: what opens a person's account, and how they link another's word or take a link back.

Both ask for a sign-in of a moment ago: whoever finds an unlocked browser adds no way in of their own. A form begins
the link, never a URL, and the person confirms whom they link: see `sign_in.link_request`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from starlette.responses import Response

from portero.authorization_server.pages.account import language_links, sign_in_first
from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.link_request import WAYS_PATH, asked_by, is_last_way, link, unlink
from portero.authorization_server.sign_in.method import Door
from portero.authorization_server.sign_in.transactions import PendingLink, Transaction, begin, load
from portero.core.errors import RequestError
from portero.core.sessions.ending import Ended, end_everything_of
from portero.core.sessions.records import BrowserSession, EndReason
from portero.core.transitions import Decision, LinkedIdentitiesKey, LinkedKey, SubjectAggregate, SubjectKey
from portero.core.vouched import vouched_from_json

PATH = WAYS_PATH
CONFIRM_PATH = f"{PATH}/confirm"
RECENT = 300
"""Seconds since the person proved themselves, within which they may change what opens their account."""
_PURPOSE = "ways"
_DONE = frozenset({"linked", "unlinked", "last"})


@dataclass(frozen=True, slots=True)
class WayRow:
    """A linked identity as it is shown."""

    provider: str
    provider_name: str
    external: str
    label: str
    usable: bool
    last: bool
    linked_ago: int
    linked_iso: str


async def ways_in(site: Site, visit: Visit) -> Response:
    """Serve the list, and what its forms ask for."""
    present = await browser_session.find(site, visit)
    if present is None:
        return await sign_in_first(site, visit, path=PATH)
    if visit.method == "POST":
        return await _changed(site, visit, present)
    now = site.context.now()
    doors = _doors(site, visit)
    names = {door.provider: door.provider_name for door in doors.values()}
    links = await site.context.store.read(LinkedIdentitiesKey(present.session.subject))
    done = visit.query.get("done")
    return site.page(
        "ways.html",
        language=visit.language,
        user=present.user,
        has_password=_has_password(site, present),
        stale=not _is_recent(site, present),
        ways=[
            WayRow(
                provider=each.provider,
                provider_name=names.get(each.provider, each.provider),
                external=each.external,
                label=each.label,
                usable=each.provider in names,
                last=is_last_way(each, links, usable=frozenset(names), password=_has_password(site, present)),
                linked_ago=max(0, now - each.linked),
                linked_iso=datetime.fromtimestamp(each.linked, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
            for each in links
        ],
        doors=[(path, door.provider_name) for path, door in doors.items()],
        done=done if done in _DONE else None,
        here=PATH,
        form_token=form_token(present.secret, purpose=_PURPOSE),
        language_links=language_links(site, PATH, current=visit.language),
    )


async def confirm(site: Site, visit: Visit) -> Response:
    """Serve `/account/sign-in/confirm`: whom the person is about to link, and their yes."""
    transaction = await load(site, visit)
    pending = transaction.pending
    if not isinstance(pending, PendingLink) or pending.external is None:
        raise RequestError("sign_in_elsewhere", "no link is under way here", detail="nobody came back")
    present = await asked_by(site, visit, pending)
    if visit.method == "POST":
        require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
        require_form_token(visit.form.get("form_token"), cookie=transaction.secret, purpose="link")
        return await _linked(site, visit, present, transaction, pending)
    names = {door.provider: door.provider_name for door in _doors(site, visit).values()}
    return site.page(
        "link_confirm.html",
        language=visit.language,
        user=present.user,
        provider=names.get(pending.provider, pending.provider),
        label=pending.label,
        login=transaction.handle,
        form_token=form_token(transaction.secret, purpose="link"),
    )


async def _linked(
    site: Site, visit: Visit, present: Present, transaction: Transaction, pending: PendingLink
) -> Response:
    if await link(site, present, transaction=transaction, pending=pending):
        response = _back(site, visit, done="linked")
    else:
        problems = [site.texts(visit.language)("ways.failed.taken")]
        response = site.page("link_failed.html", language=visit.language, status=409, problems=problems)
    response.headers.append("set-cookie", site.cookies.clear_login(handle=transaction.handle))
    return response


async def _changed(site: Site, visit: Visit, present: Present) -> Response:
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose=_PURPOSE)
    action = visit.form.get("action")
    if action not in ("link", "unlink"):
        raise RequestError("invalid_request", "action may be link or unlink")
    if not _is_recent(site, present):
        return await sign_in_first(site, visit, path=PATH, fresh=True)
    if action == "unlink":
        return await _unlinked(site, visit, present)
    path = visit.form.require("door")
    door = _doors(site, visit).get(path)
    if door is None:
        raise RequestError("invalid_request", "there is no such way to sign in here")
    # The page goes on by itself: Chromium holds the redirects of a form to its `form-action`.
    bound = Response()
    handle = await begin(site, visit, PendingLink(present.session.id_digest, door.provider), response=bound)
    onward = site.path(f"/sign-in/{path}?login={handle}&ui_locales={visit.language}")
    page = site.page("link_onward.html", language=visit.language, onward=onward, provider=door.provider_name)
    for cookie in bound.headers.getlist("set-cookie"):
        page.headers.append("set-cookie", cookie)
    return page


async def _unlinked(site: Site, visit: Visit, present: Present) -> Response:
    key = LinkedKey(visit.form.require("provider"), visit.form.require("external"))
    usable = frozenset(door.provider for door in _doors(site, visit).values())
    subject = present.session.subject
    if not await unlink(site, subject, key, usable=usable, password=_has_password(site, present)):
        return _back(site, visit, done="last")
    terms = site.context.ending_terms()

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        browsers = tuple(browser for browser in aggregate.browsers if _came_by(browser, key, present))
        ids = {browser.id_digest for browser in browsers}
        sessions = tuple(session for session in aggregate.sessions if session.browser_session in ids)
        chosen = replace(aggregate, sessions=sessions, browsers=browsers)
        return end_everything_of(chosen, reason=EndReason.SIGNED_OUT, **terms)

    await site.context.commit(SubjectKey(subject), decide, now=terms["now"])
    return _back(site, visit, done="unlinked")


def _came_by(browser: BrowserSession, key: LinkedKey, present: Present) -> bool:
    """Somebody signed in with that identity, elsewhere than here."""
    vouched = vouched_from_json(browser.vouched)
    same = vouched is not None and (vouched.provider, vouched.external) == (key.provider, key.external)
    return same and browser.id_digest != present.session.id_digest


def _doors(site: Site, visit: Visit) -> dict[str, Door]:
    """The doors behind which somebody vouches, by their part of the URL."""
    texts = site.texts(visit.language)
    return {
        f"{method.name}/{door.step}": door
        for method in site.methods.values()
        for door in method.doors(texts)
        if door.provider
    }


def _has_password(site: Site, present: Present) -> bool:
    return "password" in site.methods and present.user.password_hash is not None


def _is_recent(site: Site, present: Present) -> bool:
    return site.context.now() - present.session.auth_time <= RECENT


def _back(site: Site, visit: Visit, *, done: str) -> Response:
    return see_other(site.path(f"{PATH}?done={done}&ui_locales={visit.language}"))
