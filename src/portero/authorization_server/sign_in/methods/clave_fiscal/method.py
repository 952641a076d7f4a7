"""Clave Fiscal's door, and the steps behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from portero.adapters.afip.clave_fiscal import Rules
from portero.adapters.afip.cuit import readable
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.texts import Texts
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.method import Again, Ask, Attempt, Away, Door, Outcome, Person, Proven, StepOf
from portero.authorization_server.sign_in.methods.clave_fiscal import arrival
from portero.authorization_server.sign_in.methods.clave_fiscal.texts import TEXTS
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.jose import base64url
from portero.core.transitions import Decision, Delete, LoginKey, LoginTransaction
from portero.core.types import Digest, NumericDate, Secret
from portero.core.vouched import Vouched

NAME = "clave_fiscal"
AMR = ("pwd",)
"""RFC 8176 §2: a Clave Fiscal is a password; whether AFIP asked for more, its message does not say."""
ACR = "urn:portero:clave-fiscal:regmethod:"
"""Then what AFIP calls `regmethod`, raw: it looks like the level of the Clave Fiscal, which nobody has published."""


@dataclass(frozen=True, slots=True)
class ClaveFiscalMethod:
    """Signing in by AFIP's word."""

    rules: Rules
    login_url: str
    label: str
    just_in_time: bool
    regmethods: tuple[str, ...]
    """Those that an application may ask for."""
    name: str = NAME
    panel: None = None
    asks: tuple[str, ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: TEXTS)

    @property
    def steps(self) -> Mapping[str, StepOf]:
        return {
            "start": StepOf(self._start, posts=False),
            "choose": StepOf(self._choose, posts=False),
            "confirm": StepOf(self._confirm, posts=True),
        }

    @property
    def acr_values(self) -> tuple[str, ...]:
        return tuple(ACR + each for each in self.regmethods)

    def doors(self, texts: Texts) -> tuple[Door, ...]:
        label = self.label or texts("sign_in.clave_fiscal.door")
        return (Door(label, "start", provider=NAME, provider_name="Clave Fiscal (AFIP)"),)

    def panel_values(self, attempt: Attempt) -> Mapping[str, Any]:
        return {}

    async def end_session_url(self, site: Site, vouched: Vouched) -> None:
        return None

    def routes(self, site: Site) -> list[BaseRoute]:
        async def receive(site: Site, visit: Visit) -> Response:
            return await arrival.receive(site, visit, rules=self.rules, method=NAME)

        return [Route(f"/sign-in/{NAME}/return", site.endpoint(receive), methods=["POST"])]

    async def _start(self, site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
        """Leave for AFIP, with a cookie that AFIP's form will bring back."""
        secret = Secret(base64url.encode(site.context.random.bytes(32)))
        await arrival.expect(site, secret, handle=attempt.handle)
        lifetime = site.context.config.login_lifetime
        cookie = site.cookies.set_return(secret, method=NAME, lifetime=lifetime)
        return Away(self.login_url, keep={"expects": sha256_of(secret).hex()}, cookies=(cookie,))

    async def _choose(self, site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
        """Say who is coming in, and ask for whom they act."""
        members = await _received(site, visit, attempt)
        if "fault" in members:
            return Again(((texts("sign_in.clave_fiscal.refused"), None),), 422)
        if "cuit" not in members:
            return Again(((texts("sign_in.clave_fiscal.nothing"), None),), 422)
        represented = [cuit for cuit in members["relations"] if cuit != members["cuit"]]
        return Ask(
            "clave_fiscal/choose.html",
            {
                "person": readable(members["cuit"]),
                "represented": [(cuit, readable(cuit)) for cuit in represented],
            },
        )

    async def _confirm(self, site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
        """The person says that it is them. What AFIP said is used up here."""
        members = await _received(site, visit, attempt)
        if "cuit" not in members:
            return Again(((texts("sign_in.clave_fiscal.nothing"), None),), 422)
        chosen = visit.form.get("acting_for") or members["cuit"]
        if chosen != members["cuit"] and chosen not in members["relations"]:
            raise RequestError("invalid_request", "AFIP names no such relation", detail="a CUIT that was not offered")
        if not await _use_up(site, attempt):
            raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="used already")
        cuit = members["cuit"]
        claims = {"cuit": cuit} if chosen == cuit else {"cuit": cuit, "represented_cuit": chosen}
        return Proven(
            Person(
                Vouched(provider=NAME, external=cuit, claims=claims),
                label=readable(cuit),
                name=f"CUIT {readable(cuit)}",
                create=self.just_in_time,
            ),
            auth_time=NumericDate(min(members["gen_time"], site.context.now())),
            acr=ACR + members["regmethod"],
            amr=AMR,
        )


async def _received(site: Site, visit: Visit, attempt: Attempt) -> dict[str, Any]:
    """What AFIP's form left for this attempt, in this browser.

    Raises:
        RequestError: `sign_in_elsewhere`.
    """
    secret = site.cookies.returned(visit.cookies, method=NAME)
    expects = (attempt.kept or {}).get("expects")
    if secret is None or sha256_of(secret).hex() != expects:
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="another return cookie")
    record = await site.context.store.read(LoginKey(sha256_of(secret)))
    if record is None or record.expires <= site.context.now():
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="used or expired")
    members: dict[str, Any] = json.loads(record.request)
    return members


async def _use_up(site: Site, attempt: Attempt) -> bool:
    digest = Digest(bytes.fromhex((attempt.kept or {})["expects"]))

    def decide(record: LoginTransaction | None) -> Decision[bool]:
        return Decision(False) if record is None else Decision(True, (Delete(LoginKey(digest)),))

    return await site.context.commit(LoginKey(digest), decide, now=site.context.now())
