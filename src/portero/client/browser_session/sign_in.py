"""Signing in: to the authorization server and back, with the code flow of a confidential client.

RFC 6749 §4.1 with PKCE (RFC 7636), `iss` (RFC 9207) and `nonce`. What has to be remembered meanwhile is sealed in a
cookie of its own for each sign-in. The new session always has a new cookie value.
"""

from __future__ import annotations

import hashlib
import logging
import re
from functools import partial
from typing import Final
from urllib.parse import urlencode

from portero.client.browser_session import pages
from portero.client.browser_session.cookies import MAX_SIGN_INS, Cookies, parse_cookies
from portero.client.browser_session.exchange import Exchange
from portero.client.browser_session.issuer import AuthorizationServer
from portero.client.browser_session.records import Session, SignIn, dump_sign_in, load_sign_in
from portero.client.browser_session.refreshing import Refresher, times_of
from portero.client.browser_session.return_to import safe_return_to
from portero.client.browser_session.sealing import Seal
from portero.client.browser_session.sessions import Sessions, key_of
from portero.client.browser_session.settings import Settings
from portero.client.errors import DiscoveryFailed
from portero.client.protocol.token import Grant, Granted, NoAnswer, Refused, code_request
from portero.core.errors import RequestError, Unavailable
from portero.core.jose import base64url
from portero.core.tokens.id_token import InvalidIdToken, VerifiedIdToken, verify_id_token
from portero.core.types import Secret
from portero.ports import Clock, Random

logger = logging.getLogger(__name__)

LIFETIME: Final = 900
"""Seconds a sign-in may take."""
_HANDLE: Final = 16
"""Characters of `state` that name its cookie: 8 for the second it began, so that names sort by age, 8 at random."""
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_ALGORITHMS: Final = ("ES256", "RS256", "Ed25519")


class SignIns:
    """The two endpoints of a sign-in."""

    def __init__(
        self,
        settings: Settings,
        server: AuthorizationServer,
        sessions: Sessions,
        refresher: Refresher,
        *,
        cookies: Cookies,
        clock: Clock,
        random: Random,
    ) -> None:
        self._settings = settings
        self._server = server
        self._sessions = sessions
        self._refresher = refresher
        self._cookies = cookies
        self._clock = clock
        self._random = random
        self._seal = Seal(settings.secrets, purpose="sign-in", random=random)

    async def begin(self, exchange: Exchange) -> None:
        """`GET base/sign-in`: remember what for, and go to the sign-in page."""
        query = exchange.query()
        if exchange.header("sec-fetch-dest") not in (None, "document"):
            # An image or frame of another page must not begin sign-ins.
            raise RequestError("invalid_request", "a sign-in begins with a navigation", status=403)
        sign_in = await self._new(exchange, query)
        received = parse_cookies(exchange.header("cookie"))
        prefix = self._cookies.sign_in_prefix
        under_way = sorted(name.removeprefix(prefix) for name in received if name.startswith(prefix))
        for handle in under_way[: max(0, len(under_way) - MAX_SIGN_INS + 1)]:
            if re.fullmatch(r"[0-9A-Za-z_-]{1,32}", handle):
                exchange.cookies_to_set.append(self._cookies.clear_sign_in(handle))
        try:
            metadata = await self._server.metadata()
        except (Unavailable, DiscoveryFailed) as error:
            logger.warning("nobody can sign in: %s", error)
            await self._fail(exchange, 503, "unavailable", sign_in.return_to)
            return
        challenge = base64url.encode(hashlib.sha256(sign_in.code_verifier.encode()).digest())
        parameters = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_uri,
            "scope": self._settings.scope,
            "state": sign_in.state,
            "nonce": sign_in.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **_wishes(query),
        }
        sealed = self._seal.seal(dump_sign_in(sign_in), name=sign_in.state)
        exchange.cookies_to_set.append(self._cookies.set_sign_in(sign_in.state[:_HANDLE], sealed, max_age=LIFETIME))
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        location = f"{metadata.authorization_endpoint}{separator}{urlencode(parameters)}"
        await exchange.answer(303, [(b"location", location.encode()), (b"referrer-policy", b"no-referrer")])

    async def finish(self, exchange: Exchange) -> None:
        """`GET base/callback`: exchange the code, open the session, and go back to where the person was."""
        query = exchange.query()
        sign_in = self._known(exchange, query.get("state", ""))
        if sign_in is None:
            await self._fail(exchange, 400, "unknown", "/")
            return
        exchange.cookies_to_set.append(self._cookies.clear_sign_in(sign_in.state[:_HANDLE]))
        # RFC 9207 §2.4: before anything of it is used, its error included.
        if query.get("iss", self._settings.issuer) != self._settings.issuer:
            logger.warning("an answer to a sign-in names another issuer")
            await self._fail(exchange, 400, "refused", sign_in.return_to)
            return
        code = query.get("code")
        if code is None:
            # Where nobody was asked (prompt=none) nobody is told.
            if query.get("error") in ("login_required", "interaction_required", "consent_required"):
                await pages.land(exchange, self._settings.origin + sign_in.return_to)
            else:
                await self._fail(exchange, 400, "refused", sign_in.return_to)
            return
        await self._exchange(exchange, sign_in, Secret(code), named_issuer="iss" in query)

    async def _exchange(self, exchange: Exchange, sign_in: SignIn, code: Secret[str], *, named_issuer: bool) -> None:
        asked_at = self._clock.now()
        try:
            if (await self._server.metadata()).authorization_response_iss_parameter_supported and not named_issuer:
                raise InvalidIdToken("the answer names no issuer")
            outcome = await self._server.ask(
                partial(
                    code_request,
                    code=code,
                    code_verifier=Secret(sign_in.code_verifier),
                    redirect_uri=self._settings.redirect_uri,
                )
            )
            match outcome:
                case Granted(grant):
                    person = await self._person(sign_in, grant)
                    await self._open(exchange, sign_in, grant, person, asked_at)
                    await pages.land(exchange, self._settings.origin + sign_in.return_to)
                    return
                case Refused(reason) | NoAnswer("client_refused" as reason):
                    logger.warning("the token endpoint refused a sign-in: %s", reason)
                    status, why = 400, "refused"
                case NoAnswer(reason):
                    logger.warning("a sign-in could not be finished: %s", reason)
                    status, why = 503, "unavailable"
        except InvalidIdToken as error:
            logger.warning("a sign-in was not accepted: %s", error.description)
            status, why = 400, "refused"
        except (Unavailable, DiscoveryFailed) as error:
            logger.warning("a sign-in could not be finished: %s", error)
            status, why = 503, "unavailable"
        await self._fail(exchange, status, why, sign_in.return_to)

    async def _person(self, sign_in: SignIn, grant: Grant) -> VerifiedIdToken:
        id_token = grant.id_token
        if id_token is None:
            raise InvalidIdToken("there is no ID token")
        return await self._server.verified(
            lambda find_key: verify_id_token(
                id_token.reveal(),
                issuer=self._settings.issuer,
                client_id=self._settings.client_id,
                expected_nonce=sign_in.nonce,
                find_key=find_key,
                now=self._clock.now(),
                algorithms=_ALGORITHMS,
                max_age=sign_in.max_age,
                access_token=grant.access_token.reveal(),
            )
        )

    async def _open(
        self, exchange: Exchange, sign_in: SignIn, grant: Grant, person: VerifiedIdToken, asked_at: float
    ) -> None:
        secret = Secret(base64url.encode(self._random.bytes(32)))
        until, early = times_of(grant, asked_at=asked_at)
        life = grant.session_expires_in or grant.refresh_token_expires_in or self._settings.longest.total_seconds()
        told = await self._server.userinfo(grant.access_token, subject=person.subject)
        known = {**told, **person.claims}
        shown = {name: known[name] for name in self._settings.claims if name in known}
        session = Session(
            key=key_of(secret.reveal()),
            sub=person.subject,
            sid=person.sid,
            claims={"sub": person.subject, **shown},
            access_token=grant.access_token,
            access_until=until,
            refresh_from=early,
            refresh_token=grant.refresh_token,
            started=asked_at,
            ends=asked_at + life,
        )
        cookie = await self._sessions.create(session, secret, now=self._clock.now())
        exchange.cookies_to_set.append(self._cookies.set_session(cookie, max_age=int(life)))
        if sign_in.replaces is not None:
            old = await self._sessions.end(sign_in.replaces, until=session.ends)
            # To revoke one token of a device session ends all of it, the new one too where it is the same.
            if old is not None and old.sid != session.sid:
                self._refresher.revoke_later(old.refresh_token)

    async def _new(self, exchange: Exchange, query: dict[str, str]) -> SignIn:
        now = self._clock.now()
        cookie = parse_cookies(exchange.header("cookie")).get(self._cookies.session, [""])[0]
        session = await self._sessions.find(cookie, now=now) if cookie else None
        max_age = query.get("max_age")
        if max_age is not None and re.fullmatch(r"[0-9]{1,9}", max_age) is None:
            raise RequestError("invalid_request", "max_age is a number of seconds")
        return SignIn(
            state=f"{int(now):08x}{base64url.encode(self._random.bytes(24))}",
            nonce=base64url.encode(self._random.bytes(16)),
            code_verifier=base64url.encode(self._random.bytes(32)),
            return_to=safe_return_to(query.get("return_to"), origin=self._settings.origin),
            until=now + LIFETIME,
            max_age=None if max_age is None else int(max_age),
            replaces=None if session is None else session.key,
        )

    def _known(self, exchange: Exchange, state: str) -> SignIn | None:
        name = self._cookies.sign_in_prefix + state[:_HANDLE]
        sealed = parse_cookies(exchange.header("cookie")).get(name, []) if len(state) > _HANDLE else []
        text = self._seal.open(sealed[0], name=state) if len(sealed) == 1 else None
        sign_in = None if text is None else load_sign_in(text)
        return sign_in if sign_in is not None and self._clock.now() < sign_in.until else None

    async def _fail(self, exchange: Exchange, status: int, why: str, return_to: str) -> None:
        again = f"{self._settings.base}/sign-in?{urlencode({'return_to': return_to})}"
        await pages.fail(exchange, status, why=why, again=again, home=return_to)


def _wishes(query: dict[str, str]) -> dict[str, str]:
    """What the page may add to the authorization request: nothing that changes who asks, or for what."""
    wishes = {
        name: query[name]
        for name in ("acr_values", "max_age", "login_hint", "ui_locales")
        if query.get(name) and len(query[name]) <= 200
    }
    prompt = query.get("prompt", "")
    if prompt and set(prompt.split()) <= _PROMPTS:
        wishes["prompt"] = prompt
    return wishes
