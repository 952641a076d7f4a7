"""`/account/applications`: what a person allowed applications of others, and how they take it back.

Taking it back ends what the application has of theirs at once, in one transition; its browser stays signed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response

from portero.authorization_server.pages.account import language_links, sign_in_first
from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.core.errors import RequestError
from portero.core.oauth.authorization import MAX_CLIENT_ID
from portero.core.sessions.ending import Ended, withdraw_consent
from portero.core.transitions import ClientKey, ConsentsKey, Decision, SubjectAggregate, SubjectKey
from portero.core.types import ClientId

PATH = "/account/applications"
_PURPOSE = "applications"


@dataclass(frozen=True, slots=True)
class AllowedRow:
    """An application as the page shows it."""

    client_id: ClientId
    name: str
    scope: tuple[str, ...]
    granted_ago: int
    granted_iso: str


async def applications(site: Site, visit: Visit) -> Response:
    """Serve the list, and what its forms ask for."""
    present = await browser_session.find(site, visit)
    if present is None:
        return await sign_in_first(site, visit, path=PATH)
    if visit.method == "POST":
        return await _withdrawn(site, visit, present)
    context = site.context
    now = context.now()
    rows = []
    for consent in await context.store.read(ConsentsKey(present.session.subject)):
        client = (await context.store.read(ClientKey(consent.client_id))).client
        rows.append(
            AllowedRow(
                client_id=consent.client_id,
                name=consent.client_id if client is None else client.client_name,
                scope=consent.scope,
                granted_ago=max(0, now - consent.granted),
                granted_iso=datetime.fromtimestamp(consent.granted, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
        )
    return site.page(
        "applications.html",
        language=visit.language,
        user=present.user,
        applications=rows,
        withdrawn=visit.query.get("done") == "withdrawn",
        here=PATH,
        form_token=form_token(present.secret, purpose=_PURPOSE),
        language_links=language_links(site, PATH, current=visit.language),
    )


async def _withdrawn(site: Site, visit: Visit, present: Present) -> Response:
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose=_PURPOSE)
    client_id = visit.form.require("client_id")
    if len(client_id) > MAX_CLIENT_ID:
        raise RequestError("invalid_request", "client_id is too long")
    subject, terms = present.session.subject, site.context.ending_terms()

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        return withdraw_consent(aggregate, subject=subject, client_id=ClientId(client_id), **terms)

    await site.context.commit(SubjectKey(subject), decide, now=terms["now"])
    return see_other(site.path(f"{PATH}?done=withdrawn&ui_locales={visit.language}"))
