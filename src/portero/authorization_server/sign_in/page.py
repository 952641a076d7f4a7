"""`/sign-in` and `/consent`: where a transaction waits for its person, and goes on when they are there."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import Response

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.language import choose_language
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.address import limiting_key
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.consent import needs_consent
from portero.authorization_server.sign_in.finish import (
    answer_with_code,
    answer_with_error,
    client_of,
    form_targets,
)
from portero.authorization_server.sign_in.password import MAX_USERNAME, SignedIn, Wait, authenticate_person
from portero.authorization_server.sign_in.transactions import (
    PendingAuthorization,
    PendingPage,
    PendingSignOut,
    Transaction,
    load,
)
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.oauth.authorization import Prompt, RedirectedError, refused, registered_client, sign_in_suffices
from portero.core.transitions import Audit, Client, Decision, LoginKey, LoginTransaction, Put, User
from portero.core.types import Secret


async def sign_in(site: Site, visit: Visit) -> Response:
    """Serve `/sign-in`."""
    transaction = await load(site, visit)
    client = await _client(site, transaction)
    try:
        if visit.method == "POST":
            response = await _submitted(site, visit, transaction=transaction, client=client)
        else:
            response = await _shown(site, visit, transaction=transaction, client=client)
    except RedirectedError as error:
        response = answer_with_error(site, error=error, language=visit.language)
        response.headers.append("set-cookie", site.cookies.clear_login(handle=transaction.handle))
    return response


async def consent(site: Site, visit: Visit) -> Response:
    """Serve `POST /consent`: the person allowed or refused what an application asked for."""
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    transaction = await load(site, visit)
    require_form_token(visit.form.get("form_token"), cookie=transaction.secret, purpose="consent")
    client = await _client(site, transaction)
    pending = transaction.pending
    if not isinstance(pending, PendingAuthorization) or client is None:
        raise RequestError("sign_in_elsewhere", "nothing here waits for consent")
    request = pending.request
    present = await browser_session.find(site, visit)
    if present is None or not _suffices(site, transaction, present):
        return see_other(_here(site, visit, transaction))
    try:
        if visit.form.get("decision") != "allow":
            raise refused(request, "access_denied", "the person did not agree")
        response = await answer_with_code(site, visit, request=request, client=client, present=present, consented=True)
    except RedirectedError as error:
        response = answer_with_error(site, error=error, language=visit.language)
    response.headers.append("set-cookie", site.cookies.clear_login(handle=transaction.handle))
    return response


async def _shown(site: Site, visit: Visit, *, transaction: Transaction, client: Client | None) -> Response:
    present = await browser_session.find(site, visit)
    if present is not None and _suffices(site, transaction, present):
        return await _go_on(site, visit, transaction=transaction, client=client, present=present)
    pending = transaction.pending
    username = None if present is None else present.user.username
    if isinstance(pending, PendingAuthorization):
        if Prompt.NONE in pending.request.prompt:
            raise refused(pending.request, "login_required", "the person must sign in")
        if pending.request.login_hint is not None or Prompt.SELECT_ACCOUNT in pending.request.prompt:
            username = pending.request.login_hint
    return _form(
        site, visit, transaction=transaction, client=client, username=username or "", again=present is not None
    )


async def _submitted(site: Site, visit: Visit, *, transaction: Transaction, client: Client | None) -> Response:
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    require_form_token(visit.form.get("form_token"), cookie=transaction.secret, purpose="sign-in")
    username = visit.form.get("username") or ""
    password = visit.form.get("password")
    if not username.strip() or password is None:
        missing = tuple(name for name, given in (("username", username.strip()), ("password", password)) if not given)
        return _form(
            site, visit, transaction=transaction, client=client, username=username, missing=missing, status=422
        )
    outcome = await authenticate_person(
        site.context,
        site.throttle,
        username=username,
        password=Secret(password),
        address=limiting_key(visit.address),
    )
    if isinstance(outcome, SignedIn):
        return await _signed_in(site, visit, transaction=transaction, client=client, user=outcome.user)
    # What was typed as a name is not recorded: it is a password often enough.
    site.context.telemetry.record((Event(EventName.SIGN_IN_FAILED, site.context.now()),))
    if isinstance(outcome, Wait):
        response = _form(
            site, visit, transaction=transaction, client=client, username=username, wait=outcome.seconds, status=429
        )
        response.headers["retry-after"] = str(outcome.seconds)
        return response
    return _form(site, visit, transaction=transaction, client=client, username=username, wrong=True, status=422)


async def _signed_in(
    site: Site, visit: Visit, *, transaction: Transaction, client: Client | None, user: User
) -> Response:
    pending = transaction.pending
    if isinstance(pending, PendingAuthorization) and pending.request.expected_subject not in (None, user.subject):
        # OIDC Core §3.1.2.1: the application waits for somebody else.
        raise refused(pending.request, "login_required", "another person signed in")
    before = await browser_session.find(site, visit)
    secret, session = browser_session.fresh(site, visit, user=user)
    event = Event(
        EventName.SIGNED_IN,
        session.auth_time,
        subject=user.subject,
        client_id=None if client is None else client.client_id,
        fields={"device": session.device},
    )

    def decide(record: LoginTransaction | None) -> Decision[bool]:
        if record is None:
            return Decision(False)
        return Decision(True, (Put(session), Put(transaction.by(session.id_digest)), Audit(event)), (event,))

    if not await site.context.commit(LoginKey(transaction.record.id_digest), decide, now=session.auth_time):
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="expired meanwhile")
    if before is not None:
        await browser_session.replace_session(site, old=before.session, new=session)
    response = await _go_on(site, visit, transaction=transaction, client=client, present=Present(secret, session, user))
    lifetime = site.context.config.browser_session_lifetime
    response.headers.append("set-cookie", site.cookies.set_session(secret, lifetime=lifetime))
    return response


async def _go_on(
    site: Site, visit: Visit, *, transaction: Transaction, client: Client | None, present: Present
) -> Response:
    """The sign-in suffices: give the waiting party what it waits for."""
    match transaction.pending:
        case PendingPage(path):
            response = see_other(site.path(path))
        case PendingSignOut():
            return see_other(site.path(f"/end_session?login={transaction.handle}"))
        case PendingAuthorization(request):
            client = registered_client(client)
            if await needs_consent(site, request, client=client, present=present):
                if Prompt.NONE in request.prompt:
                    raise refused(request, "consent_required", "the person must agree first")
                return site.page(
                    "consent.html",
                    language=_language(site, visit, transaction),
                    form_targets=form_targets(client, target=request.target),
                    client=client,
                    user=present.user,
                    scope=request.scope,
                    host=urlsplit(request.target.redirect_uri).hostname or "",
                    login=transaction.handle,
                    form_token=form_token(transaction.secret, purpose="consent"),
                )
            response = await answer_with_code(site, visit, request=request, client=client, present=present)
    response.headers.append("set-cookie", site.cookies.clear_login(handle=transaction.handle))
    return response


def _suffices(site: Site, transaction: Transaction, present: Present) -> bool:
    if not isinstance(transaction.pending, PendingAuthorization):
        return True
    return sign_in_suffices(
        transaction.pending.request,
        browser=present.session,
        authenticated=transaction.authenticated,
        now=site.context.now(),
    )


def _form(
    site: Site,
    visit: Visit,
    *,
    transaction: Transaction,
    client: Client | None,
    username: str,
    missing: tuple[str, ...] = (),
    wrong: bool = False,
    wait: int = 0,
    again: bool = False,
    status: int = 200,
) -> Response:
    pending = transaction.pending
    targets: tuple[str, ...] = ()
    if client is not None and isinstance(pending, PendingAuthorization):
        targets = form_targets(client, target=pending.request.target)
    language = _language(site, visit, transaction)
    return site.page(
        "sign_in.html",
        language=language,
        status=status,
        form_targets=targets,
        client=client,
        username=username[:MAX_USERNAME],
        missing=missing,
        wrong=wrong,
        wait=wait,
        again=again,
        login=transaction.handle,
        form_token=form_token(transaction.secret, purpose="sign-in"),
        language_links=_language_links(site, transaction, current=language),
    )


def _language(site: Site, visit: Visit, transaction: Transaction) -> str:
    """What the person chose on the page, else what the application asked for, else what the browser prefers."""
    if "ui_locales" in visit.query or "ui_locales" in visit.form:
        return visit.language
    pending = transaction.pending
    wanted = pending.request.ui_locales if isinstance(pending, PendingAuthorization) else ()
    offered = site.context.config.languages
    return choose_language(ui_locales=(*wanted, visit.language), accept_language="", offered=offered)


def _language_links(site: Site, transaction: Transaction, *, current: str) -> list[tuple[str, str]]:
    return [
        (language, site.path(f"/sign-in?login={transaction.handle}&ui_locales={language}"))
        for language in site.context.config.languages
        if language != current
    ]


def _here(site: Site, visit: Visit, transaction: Transaction) -> str:
    return site.path(f"/sign-in?login={transaction.handle}")


async def _client(site: Site, transaction: Transaction) -> Client | None:
    pending = transaction.pending
    return await client_of(site, pending.request.client_id) if isinstance(pending, PendingAuthorization) else None
