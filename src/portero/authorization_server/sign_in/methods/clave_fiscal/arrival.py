"""AFIP's form arrives: from another site, so without any cookie of ours but the one made for it.

It is answered with a redirect to a page of ours, whatever it brought; no session begins here. What was accepted is kept
under that cookie, in the same transition that marks the message as used. A message in a browser that did not leave for
AFIP a moment ago goes nowhere: that is how a stranger would sign somebody in as themselves.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from portero.adapters.afip.clave_fiscal import Assertion, Fault, Refused, Rules, verify
from portero.adapters.telemetry.json_log import log
from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.transitions import Decision, LoginKey, LoginTransaction, Put, ReplayKey, ReplayMark
from portero.core.types import NumericDate, Secret

FIELDS = {"token", "sign"}


async def expect(site: Site, secret: Secret[str], *, handle: str) -> None:
    """Keep a place for what AFIP will send.

    Raises:
        Unavailable: none was kept.
    """
    now = site.context.now()
    lifetime = int(site.context.config.login_lifetime.total_seconds())
    record = LoginTransaction(sha256_of(secret), json.dumps({"handle": handle}), now, NumericDate(now + lifetime))

    def decide(_: LoginTransaction | None) -> Decision[None]:
        return Decision(None, (Put(record),))

    await site.context.commit(LoginKey(record.id_digest), decide, now=now)


async def receive(site: Site, visit: Visit, *, rules: Rules, method: str) -> Response:
    """Serve the URL that is registered with AFIP.

    Raises:
        RequestError: `sign_in_elsewhere`: this browser expects nothing from AFIP.
        Unavailable: nothing was kept, and the message may be sent again.
    """
    secret = site.cookies.returned(visit.cookies, method=method)
    place = None if secret is None else await site.context.store.read(LoginKey(sha256_of(secret)))
    now = site.context.now()
    if place is None or place.expires <= now:
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="nobody left for AFIP")
    members: dict[str, Any] = json.loads(place.request)
    handle = members["handle"]
    try:
        if set(visit.form) != FIELDS:
            raise Refused(Fault.STRUCTURE, "the form has other fields than token and sign")
        token, sign = Secret(visit.form.require("token")), Secret(visit.form.require("sign"))
        assertion = verify(token, sign, rules=rules, now=now)
        if not await _kept(site, place, assertion, handle=handle, now=now):
            raise Refused(Fault.USED, "the message was used before")
    except Refused as refused:
        log("AFIP's message was refused", {"fault": refused.fault.value, "detail": refused.detail})
        site.context.telemetry.record((Event(EventName.SIGN_IN_FAILED, now, fields={"method": method}),))
        await _put(site, replace(place, request=json.dumps({"handle": handle, "fault": refused.fault.value})), now=now)
    return see_other(site.path(f"/sign-in/{method}/choose?login={handle}&ui_locales={visit.language}"))


async def _kept(site: Site, place: LoginTransaction, assertion: Assertion, *, handle: str, now: NumericDate) -> bool:
    members = {
        "handle": handle,
        "cuit": assertion.cuit,
        "relations": [relation.cuit for relation in assertion.relations],
        "regmethod": assertion.regmethod,
        "gen_time": assertion.gen_time,
    }
    mark = ReplayMark(assertion.once, NumericDate(assertion.exp_time + 1))
    filled = replace(place, request=json.dumps(members, separators=(",", ":")))

    def decide(seen: ReplayMark | None) -> Decision[bool]:
        return Decision(False) if seen is not None else Decision(True, (Put(mark), Put(filled)))

    return await site.context.commit(ReplayKey(assertion.once), decide, now=now)


async def _put(site: Site, record: LoginTransaction, *, now: NumericDate) -> None:
    def decide(stored: LoginTransaction | None) -> Decision[None]:
        # Never over what a good message left there meanwhile.
        if stored is None or "cuit" in json.loads(stored.request):
            return Decision(None)
        return Decision(None, (Put(record),))

    await site.context.commit(LoginKey(record.id_digest), decide, now=now)
