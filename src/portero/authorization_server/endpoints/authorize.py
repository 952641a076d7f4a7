"""`/authorize` (RFC 6749 §3.1, OIDC Core §3.1.2): a code at once where the sign-in suffices, else the page.

GET and POST. A POST comes from the client's site, and our `Lax` cookies do not come with it;
so it is kept, and the GET that follows sees who is signed in.
"""

from __future__ import annotations

from starlette.responses import Response

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.consent import needs_consent
from portero.authorization_server.sign_in.finish import (
    answer_with_code,
    answer_with_error,
    client_of,
)
from portero.authorization_server.sign_in.transactions import PendingAuthorization, begin
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.oauth.authorization import (
    AuthorizationRequest,
    Prompt,
    RedirectedError,
    expecting,
    refused,
    registered_client,
    response_target,
    sign_in_suffices,
    unverified_client_id,
    unverified_id_token_hint,
    validate_authorization_request,
)
from portero.core.oauth.errors import invalid_request
from portero.core.oauth.forms import Parameters
from portero.core.oauth.pushed_authorization import from_record, pushed_secret, take_pushed
from portero.core.transitions import Client, Decision, LoginKey, LoginTransaction
from portero.core.types import Subject


async def authorize(site: Site, visit: Visit) -> Response:
    """Serve `/authorize`."""
    try:
        parameters = await _parameters(site, visit)
        client = registered_client(await client_of(site, unverified_client_id(parameters)))
        target = response_target(parameters, client=client)
        request = validate_authorization_request(parameters, client=client, target=target, offered_acr=site.offered_acr)
        request = await with_hint(site, parameters, request)
        if visit.method == "POST":
            return await _wait(site, visit, request)
        return await _answer(site, visit, request=request, client=client)
    except RedirectedError as error:
        return answer_with_error(site, error=error, language=visit.language)


async def _answer(site: Site, visit: Visit, *, request: AuthorizationRequest, client: Client) -> Response:
    present = await browser_session.find(site, visit)
    suffices = present is not None and sign_in_suffices(
        request,
        browser=present.session,
        authenticated=None,
        offered_acr=site.offered_acr,
        now=site.context.now(),
    )
    if present is not None and suffices and not await needs_consent(site, request, client=client, present=present):
        return await answer_with_code(site, visit, request=request, client=client, present=present)
    if Prompt.NONE in request.prompt:
        # OIDC Core §3.1.2.6.
        if suffices:
            raise refused(request, "consent_required", "the person must agree first")
        raise refused(request, "login_required", "the person must sign in")
    return await _wait(site, visit, request)


async def _wait(site: Site, visit: Visit, request: AuthorizationRequest) -> Response:
    response = see_other("")
    handle = await begin(site, visit, PendingAuthorization(request), response=response)
    response.headers["location"] = site.path(f"/sign-in?login={handle}")
    return response


async def _parameters(site: Site, visit: Visit) -> Parameters:
    """The request itself, or the one that was pushed before (RFC 9126 §4)."""
    secret = pushed_secret(visit.parameters)
    if secret is None:
        return visit.parameters
    client_id = unverified_client_id(visit.parameters)
    key, now = LoginKey(sha256_of(secret)), site.context.now()

    def decide(record: LoginTransaction | None) -> Decision[LoginTransaction | None]:
        return take_pushed(record, key=key, client_id=client_id, now=now)

    return from_record(await site.context.commit(key, decide, now=now))


async def with_hint(site: Site, parameters: Parameters, request: AuthorizationRequest) -> AuthorizationRequest:
    """Narrow a request to the person of its `id_token_hint`, where it has one (OIDC Core §3.1.2.1).

    Raises:
        RedirectedError: `invalid_request`: the hint is not of this server, or contradicts the request.
    """
    hint = unverified_id_token_hint(parameters)
    if hint is None:
        return request
    # Another server may have signed it with a key that appeared since this one last looked.
    await site.context.key_ring.keep_up()
    try:
        subject = site.context.key_ring.verify_own(hint.reveal(), typ="JWT").get("sub")
    except RequestError:
        subject = None
    if not isinstance(subject, str):
        raise RedirectedError(request.target, invalid_request("id_token_hint is not an ID token of this server"))
    return expecting(request, subject=Subject(subject))
