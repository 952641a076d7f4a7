"""`/operator`: the operator's console. Find a person, see their devices, end a session, close an account or a client,
rotate keys, read the audit trail.

For people who have the configured role; for anybody else, and where no role is configured, there is nothing here. Plain
forms, each bound to the browser session; the changes are those of the operator API (`operations`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from portero.authorization_server.operations import Operations
from portero.authorization_server.pages.account import is_operator, language_links, sign_in_first
from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Handler, Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.core.errors import RequestError
from portero.core.sessions.lifetimes import is_live
from portero.core.transitions import (
    AuditKey,
    ClientsKey,
    ConsentsKey,
    SigningKeysKey,
    SubjectAggregate,
    SubjectKey,
    User,
    UsernameKey,
    UsersKey,
)
from portero.core.types import ClientId, NumericDate, Sid, Subject

PATH = "/operator"
PAGE = 50
"""Rows of a list."""
EVENTS = 100
_MAX = 512
_PURPOSE = "operator"
_DONE = frozenset(
    {"ended", "ended_all", "user_disabled", "user_enabled", "client_disabled", "client_enabled", "rotated"}
)


@dataclass(frozen=True, slots=True)
class _Console:
    """What every page of the console knows."""

    site: Site
    visit: Visit
    present: Present

    def page(self, name: str, *, path: str, query: dict[str, str] | None = None, **values: Any) -> Response:
        """Render one of the console's pages; `path` and `query` lead to it again, in the other language too."""
        again = f"{path}?{urlencode(query or {})}" if query else path
        links = language_links(self.site, path, current=self.visit.language)
        if query:
            links = [(language, f"{href}&{urlencode(query)}") for language, href in links]
        done = self.visit.query.get("done")
        return self.site.page(
            f"console/{name}.html",
            language=self.visit.language,
            user=self.present.user,
            here=path,
            again=again,
            done=done if done in _DONE else None,
            now=self.site.context.now(),
            iso=_iso,
            form_token=form_token(self.present.secret, purpose=_PURPOSE),
            language_links=links,
            **values,
        )


_Page = Callable[[_Console], Awaitable[Response]]


def console_pages(site: Site) -> dict[str, Handler]:
    """The console's pages by path; none where no role opens it."""
    if not site.context.config.console_role:
        return {}
    pages = {"": _people, "/person": _person, "/clients": _clients, "/keys": _keys, "/audit": _audit}
    return {PATH + path: _for_operators(page, PATH + path) for path, page in pages.items()}


def _for_operators(page: _Page, path: str) -> Handler:
    async def handle(site: Site, visit: Visit) -> Response:
        present = await browser_session.find(site, visit)
        if present is None:
            return await sign_in_first(site, visit, path=path if path != f"{PATH}/person" else PATH)
        if not is_operator(site, present):
            raise RequestError("not_found", "there is nothing here", status=404)
        console = _Console(site, visit, present)
        return await (_changed(console) if visit.method == "POST" else page(console))

    return handle


async def _people(console: _Console) -> Response:
    visit, store = console.visit, console.site.context.store
    sought = (visit.query.get("q") or "").strip()[:_MAX]
    after = (visit.query.get("after") or "")[:_MAX]
    found: list[User] = []
    if sought:
        # By name exactly, by subject, and by the beginning of a name.
        exact = (await store.read(UsernameKey(sought)), await store.read(SubjectKey(Subject(sought))))
        found.extend(aggregate.user for aggregate in exact if aggregate.user is not None)
        listed = await store.read(UsersKey(after=after or sought, limit=PAGE))
        begins = [user for user in listed if user.username.casefold().startswith(sought.casefold())]
        found += [user for user in begins if user not in found]
    else:
        listed = await store.read(UsersKey(after=after, limit=PAGE))
        found, begins = list(listed), list(listed)
    following = begins[-1].username if len(begins) == PAGE else None
    query = {"q": sought} if sought else {}
    return console.page(
        "people",
        path=PATH,
        query=query,
        people=found,
        sought=sought,
        next_page=None if following is None else f"{PATH}?{urlencode({**query, 'after': following})}",
    )


async def _person(console: _Console) -> Response:
    store, now = console.site.context.store, console.site.context.now()
    subject = Subject(_named(console.visit.query.get("subject")))
    aggregate: SubjectAggregate = await store.read(SubjectKey(subject))
    if aggregate.user is None:
        raise RequestError("not_found", "there is nothing here", status=404)
    sessions = [session for session in aggregate.sessions if is_live(session, now=now)]
    return console.page(
        "person",
        path=f"{PATH}/person",
        query={"subject": subject},
        person=aggregate.user,
        sessions=sorted(sessions, key=lambda session: -session.last_seen),
        browsers=[browser for browser in aggregate.browsers if browser.ends > now],
        consents=await store.read(ConsentsKey(subject)),
        names={client.client_id: client.client_name for client in await store.read(ClientsKey())},
        events=await store.read(AuditKey(subject=subject, limit=20)),
    )


async def _clients(console: _Console) -> Response:
    clients = await console.site.context.store.read(ClientsKey())
    return console.page("clients", path=f"{PATH}/clients", clients=clients)


async def _keys(console: _Console) -> Response:
    keys = await console.site.context.store.read(SigningKeysKey())
    return console.page("keys", path=f"{PATH}/keys", keys=keys)


async def _audit(console: _Console) -> Response:
    events = await console.site.context.store.read(AuditKey(limit=EVENTS))
    return console.page("audit", path=f"{PATH}/audit", events=events)


async def _changed(console: _Console) -> Response:
    site, visit, present = console.site, console.visit, console.present
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose=_PURPOSE)
    operations = Operations(site.context, by=present.user.subject)
    action = visit.form.get("action") or ""
    match action:
        case "end":
            await operations.end_session(Sid(_named(visit.form.get("sid"))))
            return _back(console, "/person", done="ended")
        case "end_all":
            await operations.end_sessions(Subject(_named(visit.form.get("subject"))))
            return _back(console, "/person", done="ended_all")
        case "disable_user" | "enable_user":
            enabled = action == "enable_user"
            await operations.set_user_enabled(Subject(_named(visit.form.get("subject"))), enabled=enabled)
            return _back(console, "/person", done="user_enabled" if enabled else "user_disabled")
        case "disable_client" | "enable_client":
            enabled = action == "enable_client"
            await operations.set_client_enabled(ClientId(_named(visit.form.get("client_id"))), enabled=enabled)
            return _back(console, "/clients", done="client_enabled" if enabled else "client_disabled")
        case "rotate":
            await operations.rotate_keys()
            return _back(console, "/keys", done="rotated")
    raise RequestError("invalid_request", "action is not one of the console's")


def _back(console: _Console, path: str, *, done: str) -> Response:
    query = {"done": done, "ui_locales": console.visit.language}
    if path == "/person":
        query["subject"] = _named(console.visit.form.get("subject"))
    return see_other(console.site.path(f"{PATH}{path}?{urlencode(query)}"))


def _named(value: str | None) -> str:
    if value is None or len(value) > _MAX:
        raise RequestError("invalid_request", "the form names nothing, or too much")
    return value


def _iso(at: NumericDate) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
