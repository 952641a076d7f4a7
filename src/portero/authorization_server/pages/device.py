"""`/device`: a person types the code that a device shows, sees who asks for what, and agrees or not (RFC 8628 §3.3).

Nobody who is not signed in can try a code, and wrong ones count per person and per address. A code that came in a link
is never taken at once: the person compares it with what the device shows, as a link may be somebody else's (§5.4).
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from portero.authorization_server.limits import Levels
from portero.authorization_server.pages.account import language_links, sign_in_first
from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.address import limiting_key
from portero.authorization_server.sign_in.binding import form_token, require_form_token, require_own_origin
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.consent import agreed
from portero.authorization_server.sign_in.finish import client_of
from portero.core.errors import RequestError
from portero.core.grants.device_code import agree, refuse
from portero.core.limits import Rate, retry_after
from portero.core.oauth.device import DeviceRequest, place_of, read_user_code, read_waiting, show_user_code
from portero.core.transitions import Decision, LoginKey, LoginTransaction

PATH = "/device"
RATE = Rate(10, 600.0)
"""Wrong codes of one person, and from one address: ten at once, then one a minute, against 34 bits."""

_PURPOSE = "device"
_DONE = frozenset({"allowed", "denied"})


class DevicePage:
    """The handler, and its count of wrong codes. For one event loop; per process, as all limits."""

    def __init__(self) -> None:
        self._wrong = Levels(RATE)

    async def __call__(self, site: Site, visit: Visit) -> Response:
        """Serve the page and its two forms."""
        code = read_user_code(visit.parameters.get("user_code") or "")
        present = await browser_session.find(site, visit)
        if present is None:
            path = PATH if code is None else f"{PATH}?user_code={show_user_code(code)}"
            return await sign_in_first(site, visit, path=path)
        if visit.method == "GET":
            done = visit.query.get("done")
            if done in _DONE:
                return self._page(site, visit, present, template="device_done.html", done=done)
            return self._ask(site, visit, present, typed="" if code is None else show_user_code(code))
        require_own_origin(origin=visit.origin, fetch_site=visit.fetch_site, own_origin=site.origin)
        require_form_token(visit.form.get("form_token"), cookie=present.secret, purpose=_PURPOSE)
        return await self._answered(site, visit, present, code)

    async def _answered(self, site: Site, visit: Visit, present: Present, code: str | None) -> Response:
        typed = (visit.form.get("user_code") or "")[:20]
        wait = self._wait(site, visit, present)
        if wait > 0:
            seconds = retry_after(wait)
            response = self._ask(site, visit, present, typed=typed, problem="wait", wait=seconds, status=429)
            response.headers["retry-after"] = str(seconds)
            return response
        # Counted before it is looked up, so that a hundred at once are a hundred.
        self._count(site, visit, present)
        wrong = False
        try:
            request = None if code is None else await self._waiting(site, code)
            wrong = request is None
        finally:
            if not wrong:  # a right one, or our own failure
                self._give_back(visit, present)
        if code is None or request is None:
            return self._ask(site, visit, present, typed=typed, problem="unknown", status=400)
        match visit.form.get("decision"):
            case None:
                return await self._confirm(site, visit, present, code, request)
            case "allow":
                done = "allowed" if await self._allow(site, present, code, request) else None
            case "deny":
                done = "denied" if await self._deny(site, code) else None
            case _:
                raise RequestError("invalid_request", "decision may be allow or deny")
        if done is None:
            return self._ask(site, visit, present, typed=typed, problem="unknown", status=400)
        return see_other(site.path(f"{PATH}?done={done}&ui_locales={visit.language}"))

    async def _waiting(self, site: Site, code: str) -> DeviceRequest | None:
        record = await site.context.store.read(LoginKey(place_of(code)))
        request = read_waiting(record, now=site.context.now())
        return None if request is None or request.denied else request

    async def _confirm(self, site: Site, visit: Visit, present: Present, code: str, request: DeviceRequest) -> Response:
        client = await client_of(site, request.client_id)
        if client is None or not client.enabled:
            return self._ask(site, visit, present, typed=show_user_code(code), problem="unknown", status=400)
        return self._page(
            site,
            visit,
            present,
            template="device_confirm.html",
            client=client,
            device=request,
            user_code=show_user_code(code),
            form_token=form_token(present.secret, purpose=_PURPOSE),
        )

    async def _allow(self, site: Site, present: Present, code: str, request: DeviceRequest) -> bool:
        context = site.context
        now = context.now()
        client = await client_of(site, request.client_id)
        if client is None or not client.enabled:
            return False
        consent = None
        if not client.first_party:
            consent = await agreed(
                site,
                client_id=client.client_id,
                scope=request.scope,
                resource=request.resource,
                present=present,
                now=now,
            )

        def decide(waiting: LoginTransaction | None) -> Decision[bool]:
            return agree(waiting, browser=present.session, consent=consent, now=now)

        return await context.commit(LoginKey(place_of(code)), decide, now=now)

    async def _deny(self, site: Site, code: str) -> bool:
        now = site.context.now()

        def decide(waiting: LoginTransaction | None) -> Decision[bool]:
            return refuse(waiting, user_code=code, now=now)

        return await site.context.commit(LoginKey(place_of(code)), decide, now=now)

    def _ask(
        self,
        site: Site,
        visit: Visit,
        present: Present,
        *,
        typed: str,
        problem: str | None = None,
        wait: int = 0,
        status: int = 200,
    ) -> Response:
        return self._page(
            site,
            visit,
            present,
            template="device.html",
            status=status,
            typed=typed,
            problem=problem,
            wait=wait,
            form_token=form_token(present.secret, purpose=_PURPOSE),
        )

    def _page(
        self, site: Site, visit: Visit, present: Present, *, template: str, status: int = 200, **values: Any
    ) -> Response:
        links = language_links(site, PATH, current=visit.language)
        return site.page(
            template, language=visit.language, status=status, user=present.user, language_links=links, **values
        )

    def _wait(self, site: Site, visit: Visit, present: Present) -> float:
        at = site.context.clock.monotonic()
        return max(self._wrong.wait(key, at=at) for key in _counted(visit, present))

    def _count(self, site: Site, visit: Visit, present: Present) -> None:
        at = site.context.clock.monotonic()
        for key in _counted(visit, present):
            self._wrong.spend(key, at=at)

    def _give_back(self, visit: Visit, present: Present) -> None:
        for key in _counted(visit, present):
            self._wrong.give_back(key)


def _counted(visit: Visit, present: Present) -> tuple[tuple[str, str], ...]:
    return ("person", present.session.subject), ("address", limiting_key(visit.address))
