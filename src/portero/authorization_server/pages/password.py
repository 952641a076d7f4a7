"""`/account/password`: a person changes their password, which ends everything the old one opened but this browser.

The old password is asked for, under the limits of a sign-in: whoever finds an unlocked browser does not take the
account over. This browser gets a fresh sign-in, so that its old cookie is worth nothing either.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from portero.authorization_server.pages.account import language_links, sign_in_first
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.address import limiting_key
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.methods.password.authenticate import (
    MAX_PASSWORD,
    Wait,
    Wrong,
    authenticate_person,
    proven_by_password,
)
from portero.core.errors import RequestError
from portero.core.registration import MIN_PASSWORD, set_password
from portero.core.transitions import Decision, Put, SubjectAggregate, SubjectKey
from portero.core.types import Secret

PATH = "/account/password"
_PURPOSE = "password"


async def password(site: Site, visit: Visit) -> Response:
    """Serve the form and what it sends."""
    present = await browser_session.find(site, visit)
    if present is None:
        return await sign_in_first(site, visit, path=PATH)
    if present.user.password_hash is None:
        raise RequestError("no_password", "this account has no password here", status=404)
    if visit.method == "POST":
        return await _changed(site, visit, present)
    return _form(site, visit, present)


async def _changed(site: Site, visit: Visit, present: Present) -> Response:
    require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
    require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose=_PURPOSE)
    old, new = visit.form.get("password"), visit.form.get("new_password") or ""
    problem = _problem_of(old, new, again=visit.form.get("new_password_again") or "")
    if problem is not None:
        return _form(site, visit, present, problem=problem, status=422)
    outcome = await authenticate_person(
        site.context,
        site.throttle,
        username=present.user.username,
        password=Secret(old or ""),
        address=limiting_key(visit.address),
    )
    if isinstance(outcome, Wait):
        response = _form(site, visit, present, problem="wait", wait=outcome.seconds, status=429)
        response.headers["retry-after"] = str(outcome.seconds)
        return response
    if isinstance(outcome, Wrong):
        return _form(site, visit, present, problem="wrong", status=422)
    try:
        phc = await site.context.passwords.hash(Secret(new))
    except ValueError:  # longer than is ever hashed; the field's own limit says so before
        return _form(site, visit, present, problem="length", status=422)
    return await _kept(site, visit, present, phc=phc)


async def _kept(site: Site, visit: Visit, present: Present, *, phc: str) -> Response:
    terms = site.context.ending_terms()
    secret, fresh = browser_session.fresh(
        site, visit, user=present.user, proven=proven_by_password(present.user, now=terms["now"])
    )
    # No more than the password proves, and no longer than the sign-in it replaces would have been.
    fresh = replace(fresh, ends=min(fresh.ends, present.session.ends))

    def decide(aggregate: SubjectAggregate) -> Decision[bool]:
        decision = set_password(aggregate, password_hash=phc, **terms)
        return Decision(decision.result, (*decision.writes, Put(fresh)), decision.events)

    await site.context.commit(SubjectKey(present.session.subject), decide, now=terms["now"])
    response = _form(site, visit, Present(secret, fresh, present.user), changed=True)
    lifetime = site.context.config.browser_session_lifetime
    response.headers.append("set-cookie", site.cookies.set_session(secret, lifetime=lifetime))
    return response


def _problem_of(old: str | None, new: str, *, again: str) -> str | None:
    if not old:
        return "missing"
    if len(new) < MIN_PASSWORD:
        return "length"
    return "differ" if new != again else None


def _form(
    site: Site,
    visit: Visit,
    present: Present,
    *,
    problem: str | None = None,
    wait: int = 0,
    changed: bool = False,
    status: int = 200,
) -> Response:
    return site.page(
        "password.html",
        language=visit.language,
        status=status,
        user=present.user,
        problem=problem,
        wait=wait,
        changed=changed,
        shortest=MIN_PASSWORD,
        longest=MAX_PASSWORD,
        here=PATH,
        form_token=form_token(present.secret, purpose=_PURPOSE),
        language_links=language_links(site, PATH, current=visit.language),
    )
