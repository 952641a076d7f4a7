"""The provider says that somebody signed out there: they are out here too.

OpenID Connect Back-Channel Logout 1.0 §2.5.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portero.adapters.fetch.issuer_keys import IssuerKeys
from portero.authorization_server.endpoints.exchange import BodyTooLarge, read_body
from portero.authorization_server.pages.site import Site
from portero.authorization_server.sign_in.methods.openid.provider import Provider, drive, keys_of
from portero.core.errors import RequestError, Unavailable
from portero.core.logout.verification import LoggedOut, verify_logout_token
from portero.core.oauth.forms import parse_form
from portero.core.sessions.ending import Ended, end_everything_of
from portero.core.sessions.records import BrowserSession, EndReason
from portero.core.transitions import Decision, LinkedKey, SubjectAggregate, SubjectKey, VouchedSessionKey
from portero.core.types import Subject
from portero.core.vouched import vouched_from_json


def route(site: Site, provider: Provider) -> Route:
    """The URL to register at the provider as `backchannel_logout_uri`."""

    # Kept, unlike for sign-ins: whoever calls here has not shown yet that they are the provider.
    keys = IssuerKeys(provider.issuer, obtain=lambda: drive(provider, keys_of(provider)), clock=site.context.clock)

    async def receive(request: Request) -> Response:
        try:
            body = await read_body(request.scope["headers"], request.receive)
            form = parse_form(body, content_type=request.headers.get("content-type"))
            token = form.require("logout_token")
            said = await keys.verified(
                lambda find_key: verify_logout_token(
                    token,
                    issuer=provider.issuer,
                    client_id=provider.client_id,
                    find_key=find_key,
                    algorithms=provider.algorithms,
                    now=site.context.clock.now(),
                )
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
    for subject in await _subjects(site, provider, said):
        await _end_those_of(site, subject, provider, said)


async def _subjects(site: Site, provider: Provider, said: LoggedOut) -> set[Subject]:
    """Whose sessions may be meant; nobody's where they are out already."""
    store = site.context.store
    found: set[Subject] = set()
    if said.subject is not None:
        linked = await store.read(LinkedKey(provider.issuer, said.subject))
        found |= set() if linked is None else {linked.subject}
    if said.sid is not None:
        # Also where that identity was taken from the account since: the sign-in that it opened goes on.
        browsers = await store.read(VouchedSessionKey(provider.issuer, said.sid))
        found |= {browser.subject for browser in browsers}
    return found


async def _end_those_of(site: Site, subject: Subject, provider: Provider, said: LoggedOut) -> None:
    terms = site.context.ending_terms()

    def decide(aggregate: SubjectAggregate) -> Decision[Ended]:
        browsers = tuple(one for one in aggregate.browsers if _is_meant(one, provider, said))
        digests = {one.id_digest for one in browsers}
        sessions = tuple(one for one in aggregate.sessions if one.browser_session in digests)
        meant = replace(aggregate, browsers=browsers, sessions=sessions)
        return end_everything_of(meant, reason=EndReason.SIGNED_OUT, **terms)

    await site.context.commit(SubjectKey(subject), decide, now=terms["now"])


def _is_meant(browser: BrowserSession, provider: Provider, said: LoggedOut) -> bool:
    vouched = vouched_from_json(browser.vouched)
    if vouched is None or vouched.provider != provider.issuer:
        return False
    return said.subject in (None, vouched.external) and said.sid in (None, vouched.session)
