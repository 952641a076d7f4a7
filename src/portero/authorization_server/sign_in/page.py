"""`/sign-in` and `/consent`: the dispatcher. A stored attempt waits for its person, and goes on when they are there.

It knows no method: it finds the step a request is for, runs it over the attempt, and does what the outcome says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, assert_never
from urllib.parse import urlsplit

from starlette.responses import Response

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.language import choose_language
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.consent import needs_consent
from portero.authorization_server.sign_in.finish import (
    answer_with_code,
    answer_with_error,
    client_of,
    form_targets,
)
from portero.authorization_server.sign_in.link_request import WAYS_PATH, keep_found
from portero.authorization_server.sign_in.method import Again, Ask, Attempt, Away, Door, Method, Proven, StepOf
from portero.authorization_server.sign_in.opening import open_session
from portero.authorization_server.sign_in.transactions import (
    PendingAuthorization,
    PendingLink,
    PendingPage,
    PendingSignOut,
    Transaction,
    load,
)
from portero.core.errors import RequestError
from portero.core.oauth.authorization import (
    Prompt,
    RedirectedError,
    refused,
    registered_client,
    require_essential_acr,
    sign_in_suffices,
)
from portero.core.transitions import Client, Decision, LoginKey, LoginTransaction, Put


async def sign_in(site: Site, visit: Visit) -> Response:
    """Serve `/sign-in`: the doors, and the forms that stand on that page."""
    if visit.method == "GET":
        transaction = await load(site, visit)
        client = await _client(site, transaction)
        return await _answered(site, visit, transaction, _shown(site, visit, transaction=transaction, client=client))
    method = site.method_with_form(visit.form.get("method"))
    if method is None:
        raise RequestError("invalid_request", "there is no such way to sign in here")
    return await step(site, visit, method=method, name="submit")


async def step(site: Site, visit: Visit, *, method: Method, name: str) -> Response:
    """Serve `/sign-in/{method}/{name}`: one step of one method."""
    taken = method.steps[name]
    if (visit.method == "POST") != taken.posts:
        raise RequestError("method_not_allowed", "this step does not answer that method", status=405)
    transaction = await load(site, visit, named=taken.handle_of(visit))
    client = await _client(site, transaction)
    return await _answered(
        site,
        visit,
        transaction,
        _taken(site, visit, method=method, step=taken, transaction=transaction, client=client),
    )


async def _answered(site: Site, visit: Visit, transaction: Transaction, answering: Awaitable[Response]) -> Response:
    """Send a refusal to the application that waits; the attempt is over then."""
    try:
        return await answering
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
    if isinstance(transaction.pending, PendingLink):
        return see_other(site.path(WAYS_PATH))
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
    return _doors(
        site,
        visit,
        transaction=transaction,
        client=client,
        username=username or "",
        again=present is not None,
    )


async def _taken(
    site: Site,
    visit: Visit,
    *,
    method: Method,
    step: StepOf,
    transaction: Transaction,
    client: Client | None,
) -> Response:
    """Run one step of a method, keep what it says, and answer."""
    if step.posts:
        require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
        require_form_token(visit.form.get("form_token"), cookie=transaction.secret, purpose="sign-in")
    language = _language(site, visit, transaction)
    outcome = await step.run(site, visit, _attempt(transaction, method, username=""), site.texts(language))
    match outcome:
        case Proven() if isinstance(transaction.pending, PendingLink):
            response = await keep_found(site, visit, outcome, transaction=transaction, pending=transaction.pending)
        case Proven():
            try:
                present = await open_session(
                    site, visit, outcome, method=method.name, transaction=transaction, client=client
                )
            except RequestError as refusal:
                if refusal.error != "no_account":
                    raise
                # Known elsewhere and not here: the other doors are still open.
                problem = site.texts(language)("error.no_account.body")
                return _doors(
                    site,
                    visit,
                    transaction=transaction,
                    client=client,
                    failed=(method, Again(((problem, None),), refusal.status)),
                )
            response = await _go_on(site, visit, transaction=transaction, client=client, present=present)
            lifetime = site.context.config.browser_session_lifetime
            response.headers.append("set-cookie", site.cookies.set_session(present.secret, lifetime=lifetime))
        case Ask(template, values, status):
            response = site.page(
                template,
                language=language,
                status=status,
                form_targets=_targets(transaction, client),
                login=transaction.handle,
                form_token=form_token(transaction.secret, purpose="sign-in"),
                **{"client": client, **values},
            )
        case Again():
            response = _doors(site, visit, transaction=transaction, client=client, failed=(method, outcome))
        case Away(location, keep, cookies):
            await _keep(site, transaction, method=method, what=keep)
            response = see_other(location)
            for cookie in cookies:
                response.headers.append("set-cookie", cookie)
        case _:
            assert_never(outcome)
    return response


async def _keep(site: Site, transaction: Transaction, *, method: Method, what: Mapping[str, Any] | None) -> None:
    record = transaction.keeping(method.name, what)

    def decide(stored: LoginTransaction | None) -> Decision[bool]:
        return Decision(False) if stored is None else Decision(True, (Put(record),))

    if not await site.context.commit(LoginKey(record.id_digest), decide, now=site.context.now()):
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="expired meanwhile")


async def _go_on(
    site: Site, visit: Visit, *, transaction: Transaction, client: Client | None, present: Present
) -> Response:
    """The sign-in suffices: give the waiting party what it waits for."""
    match transaction.pending:
        case PendingPage(path):
            response = see_other(site.path(path))
        case PendingLink():  # never opens a session
            return see_other(site.path(WAYS_PATH))
        case PendingSignOut():
            return see_other(site.path(f"/end_session?login={transaction.handle}"))
        case PendingAuthorization(request):
            client = registered_client(client)
            require_essential_acr(request, acr=present.session.acr)
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
    pending = transaction.pending
    if isinstance(pending, PendingPage) and pending.fresh:
        return transaction.authenticated == present.session.id_digest
    if not isinstance(pending, PendingAuthorization):
        return True
    return sign_in_suffices(
        pending.request,
        browser=present.session,
        authenticated=transaction.authenticated,
        offered_acr=site.offered_acr,
        now=site.context.now(),
    )


def _doors(
    site: Site,
    visit: Visit,
    *,
    transaction: Transaction,
    client: Client | None,
    username: str = "",
    again: bool = False,
    failed: tuple[Method, Again] | None = None,
) -> Response:
    """The sign-in page: the panels and doors of every method, and what went wrong in one of them."""
    language = _language(site, visit, transaction)
    if isinstance(transaction.pending, PendingLink):
        return site.page(
            "link_failed.html",
            language=language,
            status=400 if failed is None else failed[1].status,
            problems=() if failed is None else [text for text, _ in failed[1].problems],
        )
    texts = site.texts(language)
    values: dict[str, Any] = {}
    for method in site.methods.values():
        values |= method.panel_values(_attempt(transaction, method, username=username))
    wait = 0
    if failed is not None:
        values |= failed[1].values
        wait = failed[1].wait
    response = site.page(
        "sign_in.html",
        language=language,
        status=200 if failed is None else failed[1].status,
        form_targets=_targets(transaction, client),
        client=client,
        again=again,
        login=transaction.handle,
        form_token=form_token(transaction.secret, purpose="sign-in"),
        problems=() if failed is None else failed[1].problems,
        panels=[method.panel for method in site.methods.values() if method.panel is not None],
        doors=[
            (door.label, _step_path(site, transaction, method, door), door.mark)
            for method in site.methods.values()
            for door in method.doors(texts)
        ],
        language_links=_language_links(site, transaction, current=language),
        **values,
    )
    if wait:
        response.headers["retry-after"] = str(wait)
    return response


def _step_path(site: Site, transaction: Transaction, method: Method, door: Door) -> str:
    return site.path(f"/sign-in/{method.name}/{door.step}?login={transaction.handle}")


def _attempt(transaction: Transaction, method: Method, *, username: str) -> Attempt:
    pending = transaction.pending
    kept = transaction.kept.get(method.name)
    if not isinstance(pending, PendingAuthorization):
        # Who is linked should be who sits here, and not whose sign-in somebody left at the provider.
        links = isinstance(pending, PendingLink)
        fresh = links or (isinstance(pending, PendingPage) and pending.fresh)
        return Attempt(transaction.handle, kept, username, fresh=fresh, links=links)
    request = pending.request
    acr_values = request.essential_acr or request.acr_values
    fresh = Prompt.LOGIN in request.prompt or request.max_age is not None
    return Attempt(transaction.handle, kept, username, acr_values, fresh)


def _targets(transaction: Transaction, client: Client | None) -> tuple[str, ...]:
    pending = transaction.pending
    if client is None or not isinstance(pending, PendingAuthorization):
        return ()
    return form_targets(client, target=pending.request.target)


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
