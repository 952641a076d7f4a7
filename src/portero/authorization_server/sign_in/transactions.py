"""What waits while a person signs in: bound to the browser that began it by a cookie of its own.

The URL names a transaction by its handle, which opens nothing; the store finds it by the digest of
the cookie's secret. So several tabs sign in side by side, and a link to somebody else's sign-in
page leads nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.responses import Response

from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.cookies import is_handle, new_handle
from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.jose import base64url
from portero.core.oauth.authorization import AuthorizationRequest, request_from_json, request_to_json
from portero.core.transitions import Decision, LoginKey, LoginTransaction, Put
from portero.core.types import Digest, NumericDate, Secret


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """A client waits for its code."""

    request: AuthorizationRequest


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A page of ours waits."""

    path: str
    fresh: bool = False
    """Only a sign-in that is made for it will do, however recent another is."""


@dataclass(frozen=True, slots=True)
class PendingLink:
    """Somebody signed in wants to link an identity elsewhere: nobody signs in with it, and no account is made."""

    browser: Digest
    """The browser session that asked; no other may finish."""
    provider: str
    external: str | None = None
    """Who came back vouched for, until the person confirms; None: nobody yet."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class PendingSignOut:
    """A sign-out that arrived by a form of another site, without our cookie; the hint stays out of the URL."""

    parameters: dict[str, str]


Pending = PendingAuthorization | PendingPage | PendingLink | PendingSignOut


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction whose cookie this browser has."""

    handle: str
    secret: Secret[str]
    record: LoginTransaction
    pending: Pending
    authenticated: Digest | None = None
    """The browser session that was made for it."""
    kept: Mapping[str, Any] = field(default_factory=dict)
    """By method, what it kept for its next step. Over once somebody is authenticated."""

    def by(self, browser_session: Digest) -> LoginTransaction:
        """The record that remembers who signed in for it."""
        return replace(self.record, request=_to_json(self.pending, authenticated=browser_session, kept={}))

    def found(self, pending: PendingLink) -> LoginTransaction:
        """The record that remembers who is to be linked."""
        return replace(self.record, request=_to_json(pending, authenticated=None, kept={}))

    def keeping(self, method: str, what: Mapping[str, Any] | None) -> LoginTransaction:
        """The record in which a method keeps something, or nothing any more."""
        kept = {name: each for name, each in self.kept.items() if name != method}
        if what is not None:
            kept[method] = what
        return replace(self.record, request=_to_json(self.pending, authenticated=self.authenticated, kept=kept))


async def begin(site: Site, visit: Visit, pending: Pending, *, response: Response) -> str:
    """Keep what waits, and bind it to this browser through `response`. Returns the handle.

    Raises:
        Unavailable: nothing was kept.
    """
    context = site.context
    now = context.now()
    lifetime = context.config.login_lifetime
    secret = Secret(base64url.encode(context.random.bytes(32)))
    handle = new_handle(now=now, random=context.random.bytes(4))
    record = LoginTransaction(
        id_digest=sha256_of(secret),
        request=_to_json(pending, authenticated=None, kept={}),
        created=now,
        expires=NumericDate(now + int(lifetime.total_seconds())),
    )

    def decide(_: LoginTransaction | None) -> Decision[None]:
        return Decision(None, writes=(Put(record),))

    await context.commit(LoginKey(record.id_digest), decide, now=now)
    for old in site.cookies.crowded_out(visit.cookies):
        response.headers.append("set-cookie", site.cookies.clear_login(handle=old))
    response.headers.append("set-cookie", site.cookies.set_login(secret, handle=handle, lifetime=lifetime))
    return handle


async def load(site: Site, visit: Visit, *, named: str | None = None) -> Transaction:
    """Find the transaction that the parameter `login` names, by the cookie of this browser.

    Args:
        named: the handle, where another parameter carried it.

    Raises:
        RequestError: `sign_in_elsewhere` (a page): begun in another browser, over, or no cookies.
        Unavailable: the store is not there.
    """
    handle = named if named is not None else visit.parameters.get("login") or ""
    secret = site.cookies.login(visit.cookies, handle=handle) if is_handle(handle) else None
    if secret is None:
        raise _elsewhere("no cookie for this sign-in")
    record = await site.context.store.read(LoginKey(sha256_of(secret)))
    if record is None or record.expires <= site.context.now():
        raise _elsewhere("the sign-in has expired")
    if '"authenticated":' not in record.request:
        raise _elsewhere("another kind of request waits under that secret")
    pending, authenticated, kept = _from_json(record.request)
    return Transaction(handle, secret, record, pending, authenticated, kept)


def _elsewhere(detail: str) -> RequestError:
    return RequestError("sign_in_elsewhere", "this sign-in is not under way here", status=400, detail=detail)


def _to_json(pending: Pending, *, authenticated: Digest | None, kept: Mapping[str, Any]) -> str:
    members: dict[str, Any] = {"authenticated": None if authenticated is None else authenticated.hex()}
    if kept:
        members["kept"] = kept
    match pending:
        case PendingAuthorization(request):
            members["authorization"] = request_to_json(request)
        case PendingPage(path, fresh):
            members |= {"page": path, "fresh": fresh}
        case PendingLink(browser, provider, external, label):
            members["link"] = [browser.hex(), provider, external, label]
        case PendingSignOut(parameters):
            members["sign_out"] = parameters
    return json.dumps(members, separators=(",", ":"))


def _from_json(text: str) -> tuple[Pending, Digest | None, Mapping[str, Any]]:
    members = json.loads(text)
    authenticated = None if members["authenticated"] is None else Digest(bytes.fromhex(members["authenticated"]))
    kept = members.get("kept", {})
    if "authorization" in members:
        return PendingAuthorization(request_from_json(members["authorization"])), authenticated, kept
    if "page" in members:
        return PendingPage(members["page"], members.get("fresh", False)), authenticated, kept
    if "link" in members:
        browser, provider, external, label = members["link"]
        return PendingLink(Digest(bytes.fromhex(browser)), provider, external, label), authenticated, kept
    return PendingSignOut(members["sign_out"]), authenticated, kept
