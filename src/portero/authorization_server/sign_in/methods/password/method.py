"""The password's panel on the sign-in page, and the step that its form comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import BaseRoute

from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.texts import Texts
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.address import limiting_key
from portero.authorization_server.sign_in.method import Again, Attempt, Door, Outcome, StepOf
from portero.authorization_server.sign_in.methods.password.authenticate import (
    MAX_USERNAME,
    SignedIn,
    Wait,
    authenticate_person,
    proven_by_password,
)
from portero.authorization_server.sign_in.methods.password.texts import TEXTS
from portero.core.events import Event, EventName
from portero.core.oauth.authorization import PASSWORD_ACR
from portero.core.types import Secret
from portero.core.vouched import Vouched


@dataclass(frozen=True, slots=True)
class PasswordMethod:
    """Signing in with what this server keeps."""

    name: str = "password"
    panel: str = "password/panel.html"
    asks: tuple[str, ...] = ("username", "password")
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: TEXTS)

    @property
    def steps(self) -> Mapping[str, StepOf]:
        return {"submit": StepOf(submit, posts=True)}

    @property
    def acr_values(self) -> tuple[str, ...]:
        return (PASSWORD_ACR,)

    def doors(self, texts: Texts) -> tuple[Door, ...]:
        return ()

    def panel_values(self, attempt: Attempt) -> Mapping[str, Any]:
        return {"username": attempt.username[:MAX_USERNAME], "missing": (), "wrong": False}

    async def end_session_url(self, site: Site, vouched: Vouched) -> None:
        return None

    def routes(self, site: Site) -> list[BaseRoute]:
        return []


async def submit(site: Site, visit: Visit, attempt: Attempt, texts: Texts) -> Outcome:
    """Look at a name and a password."""
    username = visit.form.get("username") or ""
    password = visit.form.get("password")
    values = {"username": username[:MAX_USERNAME]}
    if not username.strip() or password is None:
        missing = tuple(name for name, given in (("username", username.strip()), ("password", password)) if not given)
        problems = tuple((texts(f"sign_in.password.missing.{name}"), name) for name in missing)
        return Again(problems, 422, {**values, "missing": missing})
    outcome = await authenticate_person(
        site.context, site.throttle, username=username, password=Secret(password), address=limiting_key(visit.address)
    )
    now = site.context.now()
    if isinstance(outcome, SignedIn):
        return proven_by_password(outcome.user, now=now)
    # What was typed as a name is not recorded: it is a password often enough.
    site.context.telemetry.record((Event(EventName.SIGN_IN_FAILED, now),))
    if isinstance(outcome, Wait):
        problem = texts("sign_in.wait", duration=texts.duration(outcome.seconds))
        return Again(((problem, None),), 429, values, wait=outcome.seconds)
    return Again(((texts("sign_in.password.wrong"), None),), 422, {**values, "wrong": True})
