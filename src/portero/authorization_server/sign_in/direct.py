"""A sign-in in the application's own form: the steps of the pages, over the same kind of stored attempt.

As the dispatcher of the pages (`page`) it knows no method: it finds the one whose form was sent, runs its step, and
says what the outcome means for somebody who sees no page of ours. No cookie is read and none is set. The browser
session that a success makes is as by the form, but nobody holds its secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from portero.authorization_server.context import Context
from portero.authorization_server.limits import Limit, TooManyRequests
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.browser_session import fresh
from portero.authorization_server.sign_in.finish import code_record
from portero.authorization_server.sign_in.linking import person_meant
from portero.authorization_server.sign_in.method import Again, Ask, Attempt, Away, Proven
from portero.authorization_server.sign_in.opening import signed_in
from portero.core.events import Event
from portero.core.jose import base64url
from portero.core.oauth.authorization import AuthorizationRequest, Prompt, require_essential_acr
from portero.core.oauth.authorization_challenge import (
    StoredChallenge,
    challenge_to_record,
    invalid_session,
    needs_a_page,
)
from portero.core.oauth.forms import Parameters
from portero.core.transitions import Audit, Client, Decision, Delete, LoginKey, LoginTransaction, Put, Write
from portero.core.types import Digest, NumericDate, Secret


@dataclass(frozen=True, slots=True)
class Insufficient:
    """The person has to be asked (again). Nothing was committed."""

    asks: tuple[str, ...]
    problems: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class NeedsPage:
    """Only a page of ours, or of somebody else, leads on. Nothing was committed."""


async def take_step(
    site: Site, visit: Visit, request: AuthorizationRequest
) -> tuple[str, Proven] | Insufficient | NeedsPage:
    """Look at what the person typed, if anything; of a success also say by which method.

    Raises:
        TooManyRequests: too many attempts: nothing was looked at.
        Unavailable: the store is not there, or more hashing waits than the server allows.
    """
    method = site.method_with_form(visit.form.get("method"))
    if method is None or needs_a_page(request, direct_acr=method.acr_values, offered_acr=site.offered_acr):
        return NeedsPage()
    if not any(name in visit.form for name in method.asks):
        return Insufficient(method.asks)
    attempt = Attempt(
        handle="",
        kept=None,
        username=request.login_hint or "",
        acr_values=request.essential_acr or request.acr_values,
        fresh=Prompt.LOGIN in request.prompt or request.max_age is not None,
    )
    outcome = await method.steps["submit"].run(site, visit, attempt, site.texts(visit.language))
    match outcome:
        case Proven():
            return method.name, outcome
        case Again(wait=wait) if wait:
            raise TooManyRequests(Limit.DIRECT, wait=wait)
        case Again(problems):
            return Insufficient(method.asks, problems)
        case Ask() | Away():
            return NeedsPage()
        case _:
            assert_never(outcome)


async def open_with_code(
    site: Site,
    visit: Visit,
    proven: Proven,
    *,
    method: str,
    request: AuthorizationRequest,
    client: Client,
    stored: StoredChallenge | None,
) -> Secret[str]:
    """Make the browser session and the code in one transition, which uses up the `auth_session`.

    Raises:
        RequestError: `login_required`: the application waits for somebody else; `invalid_session`: used meanwhile.
        Unavailable: nothing was opened.
    """
    user = await person_meant(site, proven.who, request=request)
    require_essential_acr(request, acr=proven.acr)
    context = site.context
    now = context.now()
    # Its secret is in no cookie and is forgotten here.
    _, session = fresh(site, visit, user=user, proven=proven)
    code = Secret(base64url.encode(context.random.bytes(32)))
    record = code_record(site, visit, session, code=code, request=request, client=client)
    event = signed_in(session, client=client, method=method, now=now).with_fields({"by": "direct"})
    await _use_up(context, stored, (Put(session), Put(record), Audit(event)), anew=record.code_digest, event=event)
    return code


async def keep_waiting(
    site: Site, parameters: Parameters, *, client: Client, stored: StoredChallenge | None
) -> tuple[Secret[str], int]:
    """Keep the request under a new `auth_session`, in the place of the one it came with, and for no longer.

    Returns:
        It, and the seconds for which it is good.

    Raises:
        RequestError: `invalid_session`: the one before was used meanwhile.
        Unavailable: nothing was kept.
    """
    context = site.context
    now = context.now()
    lifetime = int(context.config.login_lifetime.total_seconds())
    auth_session = Secret(base64url.encode(context.random.bytes(32)))
    record = challenge_to_record(
        parameters,
        auth_session=auth_session,
        client_id=client.client_id,
        created=now if stored is None else stored.record.created,
        expires=NumericDate(now + lifetime) if stored is None else stored.record.expires,
    )
    await _use_up(context, stored, (Put(record),), anew=record.id_digest)
    return auth_session, record.expires - now


async def _use_up(
    context: Context,
    stored: StoredChallenge | None,
    writes: tuple[Write, ...],
    *,
    anew: Digest,
    event: Event | None = None,
) -> None:
    """Commit what follows from a request, and with it use up the `auth_session` it came with: of two, one does."""
    key = LoginKey(anew if stored is None else stored.record.id_digest)
    used: tuple[Write, ...] = () if stored is None else (Delete(key),)
    events = () if event is None else (event,)

    def decide(record: LoginTransaction | None) -> Decision[bool]:
        if stored is not None and record is None:
            return Decision(False)
        return Decision(True, (*used, *writes), events)

    if not await context.commit(key, decide, now=context.now()):
        raise invalid_session("used by another request meanwhile")
