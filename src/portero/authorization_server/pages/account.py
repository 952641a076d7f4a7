"""`/` and `/account`: where a person sees their devices, names them, and ends them.

Each form is bound to the browser session; each change is one transition, which looks at whose
session it is inside, and is followed by a 303, so that a reload repeats nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from starlette.responses import Response

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.transactions import PendingPage, begin
from portero.core.errors import RequestError
from portero.core.sessions.device_name import cleaned_device_name
from portero.core.sessions.ending import Ended, decide_end_session, end_everything_of
from portero.core.sessions.records import BrowserSession, DeviceSession, EndReason, SessionStatus
from portero.core.transitions import (
    ClientKey,
    Decision,
    Put,
    SessionAggregate,
    SessionKey,
    SubjectAggregate,
    SubjectKey,
)
from portero.core.types import NumericDate, Sid

_DONE = frozenset({"renamed", "ended", "ended_others", "bad_name"})
_MAX_SID = 128


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as the page shows it. Times are in seconds ago, and in UTC for machines."""

    sid: Sid
    name: str
    client: str
    place: str
    current: bool
    created_ago: int
    created_iso: str
    last_seen_ago: int
    last_seen_iso: str


async def front(site: Site, visit: Visit) -> Response:
    """Serve `/`."""
    present = await browser_session.find(site, visit)
    return site.page(
        "front.html",
        language=visit.language,
        user=None if present is None else present.user,
        is_operator=present is not None and is_operator(site, present),
        language_links=language_links(site, "/", current=visit.language),
    )


async def account(site: Site, visit: Visit) -> Response:
    """Serve `/account`: the list, and what its forms ask for."""
    present = await browser_session.find(site, visit)
    if present is None:
        return await sign_in_first(site, visit, path="/account")
    if visit.method == "POST":
        return await _changed(site, visit, present)
    return await _list(site, visit, present)


async def _list(site: Site, visit: Visit, present: Present) -> Response:
    context = site.context
    now = context.now()
    aggregate = await context.store.read(SubjectKey(present.session.subject))
    sessions = [session for session in aggregate.sessions if _is_live(session, now)]
    sessions.sort(key=lambda session: (session.browser_session != present.session.id_digest, -session.last_seen))
    names: dict[str, str] = {}
    for client_id in {session.client_id for session in sessions}:
        client = (await context.store.read(ClientKey(client_id))).client
        names[client_id] = client_id if client is None else client.client_name
    done = visit.query.get("done")
    return site.page(
        "devices.html",
        language=visit.language,
        user=present.user,
        devices=[_row(session, present, client=names[session.client_id], now=now) for session in sessions],
        has_others=_others(aggregate, present) != ((), ()),
        this_browser=present.session.device,
        done=done if done in _DONE else None,
        here="/account",
        form_token=form_token(present.secret, purpose="account"),
        language_links=language_links(site, "/account", current=visit.language),
    )


async def _changed(site: Site, visit: Visit, present: Present) -> Response:
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose="account")
    match visit.form.get("action"):
        case "rename":
            return _back(site, visit, done=await _rename(site, visit, present))
        case "end":
            return await _end_one(site, visit, present)
        case "end_others":
            await _end_of_subject(site, present, lambda aggregate: _only_others(aggregate, present))
            return _back(site, visit, done="ended_others")
        case "end_all":
            await _end_of_subject(site, present, lambda aggregate: aggregate)
            return _gone(site, visit, everywhere=True)
    raise RequestError("invalid_request", "action may be rename, end, end_others or end_all")


async def _rename(site: Site, visit: Visit, present: Present) -> str:
    name = cleaned_device_name(visit.form.get("name") or "")
    if name is None:
        return "bad_name"

    def decide(aggregate: SessionAggregate) -> Decision[None]:
        session = aggregate.session
        if session is None or session.subject != present.session.subject or session.status is SessionStatus.ENDED:
            return Decision(None)
        return Decision(None, writes=(Put(replace(session, device_name=name)),))

    await site.context.commit(SessionKey(_sid(visit)), decide, now=site.context.now())
    return "renamed"


async def _end_one(site: Site, visit: Visit, present: Present) -> Response:
    terms = site.context.ending_terms()

    def decide(aggregate: SessionAggregate) -> Decision[bool]:
        decision = decide_end_session(
            aggregate, reason=EndReason.DEVICE_ENDED, expected_subject=present.session.subject, **terms
        )
        mine = any(session.browser_session == present.session.id_digest for session in decision.result)
        return Decision(mine, decision.writes, decision.events)

    mine = await site.context.commit(SessionKey(_sid(visit)), decide, now=terms["now"])
    # Ending a device session ends the browser session it came from: this browser is signed out then.
    return _gone(site, visit, everywhere=False) if mine else _back(site, visit, done="ended")


async def _end_of_subject(site: Site, present: Present, choose: Callable[[SubjectAggregate], SubjectAggregate]) -> None:
    terms = site.context.ending_terms()

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        return end_everything_of(choose(aggregate), reason=EndReason.SIGNED_OUT_EVERYWHERE, **terms)

    await site.context.commit(SubjectKey(present.session.subject), decide, now=terms["now"])


def _only_others(aggregate: SubjectAggregate, present: Present) -> SubjectAggregate:
    """What is not of this browser. All of this browser's applications stay, not only the one in the foreground."""
    sessions, browsers = _others(aggregate, present)
    return replace(aggregate, sessions=sessions, browsers=browsers)


def _others(
    aggregate: SubjectAggregate, present: Present
) -> tuple[tuple[DeviceSession, ...], tuple[BrowserSession, ...]]:
    mine = present.session.id_digest
    return (
        tuple(session for session in aggregate.sessions if session.browser_session != mine),
        tuple(browser for browser in aggregate.browsers if browser.id_digest != mine),
    )


def _is_live(session: DeviceSession, now: NumericDate) -> bool:
    return session.status is SessionStatus.ACTIVE and now < min(session.absolute_end, session.idle_end)


def _row(session: DeviceSession, present: Present, *, client: str, now: NumericDate) -> DeviceRow:
    return DeviceRow(
        sid=session.sid,
        name=session.device_name,
        client=client,
        place=session.place,
        current=session.browser_session == present.session.id_digest,
        created_ago=max(0, now - session.created),
        created_iso=_iso(session.created),
        last_seen_ago=max(0, now - session.last_seen),
        last_seen_iso=_iso(session.last_seen),
    )


def _iso(at: NumericDate) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sid(visit: Visit) -> Sid:
    sid = visit.form.require("sid")
    if len(sid) > _MAX_SID:
        raise RequestError("invalid_request", "sid is too long")
    return Sid(sid)


def _back(site: Site, visit: Visit, *, done: str) -> Response:
    return see_other(site.path(f"/account?done={done}{_language_suffix(visit)}"))


def _gone(site: Site, visit: Visit, *, everywhere: bool) -> Response:
    page = "everywhere" if everywhere else "here"
    response = see_other(site.path(f"/signed-out?from={page}{_language_suffix(visit)}"))
    response.headers.append("set-cookie", site.cookies.clear_session())
    return response


async def signed_out(site: Site, visit: Visit) -> Response:
    """Serve `/signed-out`: the page after a sign-out that no application asked for."""
    return site.page(
        "signed_out.html",
        language=visit.language,
        client=None,
        everywhere=visit.query.get("from") == "everywhere",
        language_links=language_links(site, "/signed-out", current=visit.language),
    )


def _language_suffix(visit: Visit) -> str:
    return f"&ui_locales={visit.language}"


def is_operator(site: Site, present: Present) -> bool:
    """Say whether the person has the role that opens the operator's console."""
    role = site.context.config.console_role
    return bool(role) and role in present.user.roles


async def sign_in_first(site: Site, visit: Visit, *, path: str, fresh: bool = False) -> Response:
    """Ask who is there, and go on to a page of the account. A form whose sign-in ended is not carried out later.

    Args:
        fresh: also ask who is signed in already.
    """
    response = see_other("")
    handle = await begin(site, visit, PendingPage(path, fresh), response=response)
    response.headers["location"] = site.path(f"/sign-in?login={handle}")
    return response


def language_links(site: Site, path: str, *, current: str) -> list[tuple[str, str]]:
    """The same page in the other languages."""
    return [
        (language, site.path(f"{path}?ui_locales={language}"))
        for language in site.context.config.languages
        if language != current
    ]
