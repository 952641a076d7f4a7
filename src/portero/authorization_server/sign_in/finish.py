"""What follows a sign-in that suffices: the person's agreement where it is needed, the code, the way back."""

from __future__ import annotations

import base64
import hashlib

from starlette.responses import Response

from portero.authorization_server.context import find_client
from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.consent import agreed
from portero.core.events import Event, EventName
from portero.core.grants.authorization_code import issue_code
from portero.core.jose import base64url
from portero.core.oauth.authorization import (
    AuthorizationRequest,
    RedirectedError,
    ResponseMode,
    ResponseTarget,
    code_response,
    error_response,
    refused,
    response_location,
)
from portero.core.oauth.redirect_uris import csp_source
from portero.core.sessions.device_name import coarse_place
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import Audit, AuthorizationCode, BrowserAggregate, BrowserKey, Client, Decision, Put
from portero.core.types import ClientId, Secret

_SUBMIT = "document.forms[0].submit()"
"""The one script there is: it presses the button of the `form_post` page."""
_SUBMIT_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(_SUBMIT.encode()).digest()).decode()}'"


async def client_of(site: Site, client_id: ClientId) -> Client | None:
    """Look a client up.

    Raises:
        Unavailable: the store is not there.
    """
    return await find_client(site.context.store, site.context.client_documents, client_id)


def form_targets(client: Client, *, target: ResponseTarget) -> tuple[str, ...]:
    """The CSP sources where a form of this sign-in may end.

    The redirect URI's, and the client's other registered places: an application that sends the
    browser on from its redirect URI is still within the navigation that the form began, and
    Chromium checks each step of it.
    """
    uris = (target.redirect_uri, *client.redirect_uris, *client.post_logout_redirect_uris, *client.allowed_origins)
    return tuple(dict.fromkeys(source for uri in uris if (source := csp_source(uri)) is not None))


def code_record(
    site: Site,
    visit: Visit,
    session: BrowserSession,
    *,
    code: Secret[str],
    request: AuthorizationRequest,
    client: Client,
) -> AuthorizationCode:
    """Build the record of a code, not yet stored, for who signed in."""
    return issue_code(
        session,
        code=code,
        client_id=client.client_id,
        redirect_uri=request.target.redirect_uri,
        code_challenge=request.code_challenge,
        nonce=request.nonce,
        scope=request.scope,
        resource=request.resource,
        place=coarse_place(None if visit.address is None else str(visit.address)),
        now=site.context.now(),
        lifetime=int(site.context.config.code_lifetime.total_seconds()),
        claims=request.claims,
        dpop_jkt=request.dpop_jkt,
    )


async def answer_with_code(
    site: Site,
    visit: Visit,
    *,
    request: AuthorizationRequest,
    client: Client,
    present: Present,
    consented: bool = False,
) -> Response:
    """Issue a code under the browser's sign-in, and send it to the client.

    Args:
        consented: the person has just agreed; that is remembered with the code.

    Raises:
        RedirectedError: `login_required`: the sign-in ended a moment ago.
        Unavailable: no code was issued.
    """
    context = site.context
    now = context.now()
    code = Secret(base64url.encode(context.random.bytes(32)))
    session = present.session
    record = code_record(site, visit, session, code=code, request=request, client=client)

    consent = None
    if consented:
        consent = await agreed(
            site,
            client_id=request.client_id,
            scope=request.scope,
            resource=request.resource,
            present=present,
            now=now,
        )

    def decide(aggregate: BrowserAggregate) -> Decision[bool]:
        if aggregate.browser is None:
            return Decision(False)
        if consent is None:
            return Decision(True, (Put(record),))
        event = Event(EventName.CONSENT_GIVEN, now, consent.subject, consent.client_id)
        return Decision(True, (Put(record), Put(consent), Audit(event)), (event,))

    if not await context.commit(BrowserKey(session.id_digest), decide, now=now):
        raise refused(request, "login_required", "the sign-in has ended")
    return _send(site, visit.language, request.target, dict(code_response(request.target, code=code, iss=site.issuer)))


def answer_with_error(site: Site, *, error: RedirectedError, language: str) -> Response:
    """Send a refusal to the client."""
    return _send(site, language, error.target, dict(error_response(error, iss=site.issuer)))


def _send(site: Site, language: str, target: ResponseTarget, members: dict[str, str]) -> Response:
    if target.response_mode is ResponseMode.QUERY:
        return see_other(response_location(target, members))
    # OAuth 2.0 Form Post Response Mode §2: the answer is the body of a form, never in a URL.
    source = csp_source(target.redirect_uri)
    return site.page(
        "form_post.html",
        language=language,
        form_targets=() if source is None else (source,),
        script=_SUBMIT_SOURCE,
        submit=_SUBMIT,
        action=target.redirect_uri,
        members=members,
    )
