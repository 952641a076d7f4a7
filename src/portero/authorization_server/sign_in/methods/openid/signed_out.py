"""The provider says that somebody signed out there: they are out here too.

OpenID Connect Back-Channel Logout 1.0 §2.5.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portero.authorization_server.endpoints.exchange import BodyTooLarge, read_body
from portero.authorization_server.pages.site import Site
from portero.authorization_server.sign_in.methods.openid.provider import Provider, drive, keys_of
from portero.core.errors import RequestError, Unavailable
from portero.core.logout.verification import LoggedOut, verify_logout_token
from portero.core.oauth.forms import parse_form
from portero.core.sessions.ending import Ended, end_everything_of
from portero.core.sessions.records import BrowserSession, EndReason
from portero.core.transitions import Decision, LinkedKey, SubjectAggregate, SubjectKey
from portero.core.vouched import vouched_from_json


def route(site: Site, provider: Provider) -> Route:
    """The URL to register at the provider as `backchannel_logout_uri`."""

    async def receive(request: Request) -> Response:
        try:
            body = await read_body(request.scope["headers"], request.receive)
            form = parse_form(body, content_type=request.headers.get("content-type"))
            keys = await drive(keys_of(provider))
            said = verify_logout_token(
                form.require("logout_token"),
                issuer=provider.issuer,
                client_id=provider.client_id,
                find_key=keys.find,
                algorithms=provider.algorithms,
                now=site.context.clock.now(),
            )
            await _end(site, provider, said)
        except (RequestError, BodyTooLarge):
            return Response(status_code=400, headers={"cache-control": "no-store"})
        except Unavailable as failure:
            # Not 400: the token may be good, and the provider tries again.
            headers = {"cache-control": "no-store", "retry-after": str(failure.retry_after)}
            return Response(status_code=503, headers=headers)
        return Response(status_code=200, headers={"cache-control": "no-store"})

    return Route(f"/sign-in/openid/{provider.name}/backchannel-logout", receive, methods=["POST"])


async def _end(site: Site, provider: Provider, said: LoggedOut) -> None:
    if said.subject is None:
        raise RequestError("invalid_request", "a logout token without sub names nobody here")
    linked = await site.context.store.read(LinkedKey(provider.issuer, said.subject))
    if linked is None:
        return  # nobody here: they are out already
    terms = site.context.ending_terms()

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        browsers = tuple(one for one in aggregate.browsers if _is_meant(one, provider, said))
        digests = {one.id_digest for one in browsers}
        sessions = tuple(one for one in aggregate.sessions if one.browser_session in digests)
        meant = replace(aggregate, browsers=browsers, sessions=sessions)
        return end_everything_of(meant, reason=EndReason.SIGNED_OUT, **terms)

    await site.context.commit(SubjectKey(linked.subject), decide, now=terms["now"])


def _is_meant(browser: BrowserSession, provider: Provider, said: LoggedOut) -> bool:
    vouched = vouched_from_json(browser.vouched)
    if vouched is None or vouched.provider != provider.issuer:
        return False
    return said.sid is None or vouched.session == said.sid
