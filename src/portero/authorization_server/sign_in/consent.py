"""Whether a person is asked for their agreement, and what is remembered of it."""

from __future__ import annotations

from portero.authorization_server.pages.site import Site
from portero.authorization_server.sign_in.browser_session import Present
from portero.core.consent import Consent
from portero.core.oauth.authorization import AuthorizationRequest, Prompt
from portero.core.transitions import Client, ClientType, ConsentKey
from portero.core.types import ClientId, NumericDate


async def needs_consent(site: Site, request: AuthorizationRequest, *, client: Client, present: Present) -> bool:
    """Say whether the person is asked: of others' applications until they agreed, of any when it asks for it.

    Raises:
        Unavailable: the store is not there.
    """
    if Prompt.CONSENT in request.prompt:
        return True
    if client.first_party:
        return False
    # RFC 8252 §8.6: where anybody on the machine can be the one that answers at the redirect URI, what was
    # allowed before is not handed out again in silence.
    if client.client_type is ClientType.PUBLIC and not request.target.redirect_uri.startswith("https:"):
        return True
    consent = await site.context.store.read(ConsentKey(present.session.subject, client.client_id))
    return consent is None or not consent.covers(scope=request.scope, resource=request.resource)


async def agreed(
    site: Site,
    *,
    client_id: ClientId,
    scope: tuple[str, ...],
    resource: tuple[str, ...],
    present: Present,
    now: NumericDate,
) -> Consent:
    """Return what is to be remembered: what was allowed now, beside what was before.

    Raises:
        Unavailable: the store is not there.
    """
    subject = present.session.subject
    before = await site.context.store.read(ConsentKey(subject, client_id))
    if before is None:
        return Consent(subject, client_id, scope, resource, now)
    return before.widened(scope=scope, resource=resource, now=now)
