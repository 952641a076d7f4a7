"""`/end_session` (OpenID Connect RP-Initiated Logout 1.0 §2): ends the browser's sign-in and all under it.

At once where a hint proves that the request is about this very sign-in; otherwise the person is
asked. A POST of another site arrives without our `Lax` cookie: it is kept, and the GET that
follows knows the browser (the hint stays out of the URL).
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.finish import client_of
from portero.authorization_server.sign_in.transactions import PendingSignOut, begin, load
from portero.core.errors import RequestError, Unavailable
from portero.core.oauth.end_session import (
    PARAMETERS,
    EndSessionRequest,
    IdTokenHint,
    claimed_client,
    is_certain,
    parse_end_session_request,
    post_logout_location,
    read_hint,
)
from portero.core.oauth.errors import invalid_request
from portero.core.oauth.forms import Parameters
from portero.core.oauth.redirect_uris import csp_source
from portero.core.sessions.ending import Ended, end_browser_session
from portero.core.sessions.records import EndReason
from portero.core.transitions import BrowserAggregate, BrowserKey, Client, Decision
from portero.core.vouched import vouched_from_json


@dataclass(frozen=True, slots=True)
class _SignOut:
    """A request whose every part was checked."""

    parameters: dict[str, str]
    hint: IdTokenHint | None
    client: Client | None
    location: str | None


async def end_session(site: Site, visit: Visit) -> Response:
    """Serve `/end_session`."""
    if visit.method == "POST" and "form_token" in visit.form:
        return await _confirmed(site, visit)
    if visit.method == "GET" and "login" in visit.query:
        return await _resumed(site, visit)
    parameters = visit.parameters
    sign_out = await _read(site, {name: value for name in PARAMETERS if (value := parameters.get(name)) is not None})
    if visit.method == "POST":
        response = see_other("")
        handle = await begin(site, visit, PendingSignOut(sign_out.parameters), response=response)
        response.headers["location"] = site.path(f"/end_session?login={handle}")
        return response
    return await _answer(site, visit, sign_out)


async def sign_out_of(site: Site, present: Present) -> None:
    """End the browser's sign-in and every device session under it; feed and audit stand in the same transition.

    Raises:
        Unavailable: nothing was ended.
    """
    terms = site.context.ending_terms()

    def decide(aggregate: BrowserAggregate) -> Decision[Ended]:
        return end_browser_session(aggregate, reason=EndReason.SIGNED_OUT, **terms)

    await site.context.commit(BrowserKey(present.session.id_digest), decide, now=terms["now"])


async def _resumed(site: Site, visit: Visit) -> Response:
    transaction = await load(site, visit)
    if not isinstance(transaction.pending, PendingSignOut):
        raise RequestError("sign_in_elsewhere", "nothing here waits for a sign-out")
    response = await _answer(site, visit, await _read(site, transaction.pending.parameters))
    response.headers.append("set-cookie", site.cookies.clear_login(handle=transaction.handle))
    return response


async def _confirmed(site: Site, visit: Visit) -> Response:
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    present = await browser_session.find(site, visit)
    sign_out = await _read(site, {name: value for name in PARAMETERS if (value := visit.form.get(name)) is not None})
    if present is None:
        return _signed_out(site, visit, sign_out)
    require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose="sign-out")
    if visit.form.get("decision") != "sign_out":
        return see_other(site.path("/"))
    return await _ended(site, visit, present, sign_out)


async def _ended(site: Site, visit: Visit, present: Present, sign_out: _SignOut) -> Response:
    """End the sign-in here; then, where its provider offers that, there."""
    await sign_out_of(site, present)
    vouched = vouched_from_json(present.session.vouched)
    if vouched is not None:
        for method in site.methods.values():
            there = await method.end_session_url(site, vouched)
            if there is not None:
                return await _onward(site, visit, sign_out, there)
    return _signed_out(site, visit, sign_out)


async def _onward(site: Site, visit: Visit, sign_out: _SignOut, there: str) -> Response:
    bound = Response()
    try:
        handle = await begin(site, visit, PendingSignOut(_carried(sign_out)), response=bound)
    except Unavailable:  # ours has ended: that is not undone by what comes after
        return _signed_out(site, visit, sign_out)
    # A page that goes on by itself: Chromium holds the redirects of a form to its `form-action`.
    response = site.page("sign_out_onward.html", language=visit.language, onward=f"{there}&state={handle}")
    response.headers.append("set-cookie", site.cookies.clear_session())
    for cookie in bound.headers.getlist("set-cookie"):
        response.headers.append("set-cookie", cookie)
    return response


def _carried(sign_out: _SignOut) -> dict[str, str]:
    """What is asked without the hint, which has done its work, and stays out of pages and URLs."""
    carried = {name: value for name, value in sign_out.parameters.items() if name != "id_token_hint"}
    if sign_out.client is not None:
        carried["client_id"] = sign_out.client.client_id
    return carried


async def _answer(site: Site, visit: Visit, sign_out: _SignOut) -> Response:
    present = await browser_session.find(site, visit)
    if present is None:
        return _signed_out(site, visit, sign_out)
    sessions = (await site.context.store.read(BrowserKey(present.session.id_digest))).sessions
    if is_certain(sign_out.hint, subject=present.session.subject, sessions=sessions):
        return await _ended(site, visit, present, sign_out)
    source = None if sign_out.location is None else csp_source(sign_out.location)
    return site.page(
        "sign_out.html",
        language=visit.language,
        form_targets=() if source is None else (source,),
        client=sign_out.client,
        user=present.user,
        carried=_carried(sign_out),
        form_token=form_token(present.secret, purpose="sign-out"),
    )


def _signed_out(site: Site, visit: Visit, sign_out: _SignOut) -> Response:
    if sign_out.location is not None:
        response = see_other(sign_out.location)
    else:
        response = site.page("signed_out.html", language=visit.language, client=sign_out.client, everywhere=False)
    response.headers.append("set-cookie", site.cookies.clear_session())
    return response


async def _read(site: Site, parameters: dict[str, str]) -> _SignOut:
    request = parse_end_session_request(Parameters({name: (value,) for name, value in parameters.items()}))
    hint = await _verified_hint(site, request)
    client_id = claimed_client(request, hint=hint)
    client = None if client_id is None else await client_of(site, client_id)
    return _SignOut(parameters, hint, client, post_logout_location(request, client=client))


async def _verified_hint(site: Site, request: EndSessionRequest) -> IdTokenHint | None:
    hint = request.unverified_id_token_hint
    if hint is None:
        return None
    # Another server may have signed it with a key that appeared since this one last looked.
    await site.context.key_ring.keep_up()
    try:
        return read_hint(site.context.key_ring.verify_own(hint.reveal(), typ="JWT"))
    except RequestError as error:
        raise invalid_request("id_token_hint is not an ID token of this server", detail=error.detail) from None
