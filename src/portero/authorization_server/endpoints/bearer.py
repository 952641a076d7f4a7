"""Access tokens presented to the authorization server itself (userinfo, the feed), and whether a token was taken back.

RFC 6750 §2.1: in the `Authorization` header; at userinfo also in a form (§2.2), never in a URL.
A token of this server is believed while its signature, `typ`, `iss` and `exp` hold, nothing in
the feed names it, and its client still stands.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.hub import PAGE, read_page
from portero.authorization_server.endpoints.responses import Answer, refusal
from portero.core.errors import RequestError
from portero.core.oauth.errors import invalid_request, invalid_token
from portero.core.oauth.forms import FORM_CONTENT_TYPE
from portero.core.oauth.token import MAX_TOKEN_LENGTH
from portero.core.revocation.subscription_set import RevokedSet
from portero.core.tokens.access_token import TYP, unverified_header_of
from portero.core.types import ClientId, Issuer, NumericDate
from portero.ports import Clock, Store


class NoToken(RequestError):
    """No token was presented: a challenge without an error code (RFC 6750 §3.1)."""

    def __init__(self) -> None:
        super().__init__("invalid_token", "an access token is needed", status=401, detail="no token")


@dataclass(frozen=True, slots=True)
class OwnAccessToken:
    """What an access token of this server says, verified and not taken back."""

    claims: dict[str, Any]
    kid: str | None
    client_id: ClientId
    exp: NumericDate

    @property
    def scope(self) -> frozenset[str]:
        """The scope tokens it carries."""
        return frozenset(str(self.claims.get("scope", "")).split())

    @property
    def audience(self) -> frozenset[str]:
        """The audiences it is for."""
        aud = self.claims.get("aud")
        return frozenset(aud if isinstance(aud, list) else [aud])

    @property
    def is_of_client_itself(self) -> bool:
        """Whether no person stands behind it (RFC 6749 §4.4): what it allows is allowed to the client alone."""
        return self.claims.get("sub") == self.client_id and "sid" not in self.claims


class TakenBack:
    """What the feed says, brought up to date by an incremental reading at each question."""

    def __init__(self, store: Store, clock: Clock, issuer: Issuer) -> None:
        self._store = store
        self._clock = clock
        self._known_at = float("-inf")
        self._epoch: str | None = None
        self._n = -1
        self._revoked = RevokedSet(issuer)
        self._lock = asyncio.Lock()

    async def names(self, claims: dict[str, Any], *, kid: str | None, now: NumericDate, max_age: float) -> bool:
        """Say whether a token with these claims was taken back.

        Args:
            max_age: seconds the knowledge may be old; 0 reads the store at every question.

        Raises:
            Unavailable: the store cannot be read.
        """
        async with self._lock:
            asked = self._clock.monotonic()
            if max_age == 0 or asked >= self._known_at + max_age:
                await self._catch_up(now)
                self._known_at = asked
        sid = claims.get("sid")
        return self._revoked.names(
            sid=sid if isinstance(sid, str) else None,
            jti=str(claims.get("jti", "")),
            client_id=str(claims.get("client_id", "")),
            kid=kid,
        )

    async def _catch_up(self, now: NumericDate) -> None:
        while True:
            page = await read_page(self._store, after=self._n, now=now)
            if page.epoch != self._epoch:
                # What was known before stays known until its time: a restored database has forgotten it.
                first, self._epoch, self._n = self._epoch is None, page.epoch, -1
                if not first:
                    continue
            for entry in page.entries:
                self._revoked.add(entry.revocation)
            self._n = page.head if len(page.entries) < PAGE else page.entries[-1].n
            if len(page.entries) < PAGE:
                self._revoked.prune(now)
                return


class Bearers:
    """Validates access tokens that this server issued."""

    def __init__(self, context: Context, clients: Clients) -> None:
        self._context = context
        self._clients = clients
        self._taken_back = TakenBack(context.store, context.clock, Issuer(context.config.issuer))

    async def presented(self, request: Request, *, in_body: bool = False) -> OwnAccessToken:
        """Validate the token in the request's `Authorization` header.

        Args:
            in_body: a form's `access_token` will do as well (RFC 6750 §2.2), for the endpoint that OpenID Connect
                has read it there.

        Does not check: audience and scope, which are the endpoint's.

        Raises:
            RequestError: `invalid_token`; `invalid_request` where there are two.
            Unavailable: the store cannot be read.
        """
        authorization = request.header(b"authorization")
        token_in_body = _form_token(request) if in_body else None
        if authorization is None:
            if token_in_body is None:
                raise NoToken
            return await self.validated(token_in_body)
        if token_in_body is not None:
            raise invalid_request("two access tokens in one request")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            # RFC 9449 §7.1: a DPoP-bound token comes with the DPoP scheme, which this endpoint does not take.
            raise NoToken
        if "," in token:
            raise invalid_request("two access tokens in one request")
        return await self.validated(token.strip(" "))

    async def validated(self, token: str) -> OwnAccessToken:
        """Validate an access token of this server: signature, `typ`, `iss`, `exp`, revocation, client.

        Raises:
            RequestError: `invalid_token`.
            Unavailable: the store cannot be read.
        """
        if not token or len(token) > MAX_TOKEN_LENGTH:
            raise invalid_token("the access token is malformed")
        await self._context.key_ring.keep_up()
        claims = self._context.key_ring.verify_own(token, typ=TYP)
        now = self._context.now()
        exp = claims.get("exp")
        if type(exp) is not int or exp <= now:
            raise invalid_token("the access token has expired")
        if "cnf" in claims:
            # RFC 9449 §7.2: a bound token is not accepted as a bearer token.
            raise invalid_token("the access token is bound to a key, and this endpoint takes bearer tokens")
        kid = unverified_header_of(token).kid
        if await self.taken_back(claims, kid=kid, now=now):
            raise invalid_token("the access token was revoked")
        return OwnAccessToken(claims, kid, ClientId(claims["client_id"]), NumericDate(exp))

    async def still_good(self, token: OwnAccessToken, *, max_age: float) -> bool:
        """Say whether a token that was validated before still holds, for connections that stay open.

        Raises:
            Unavailable: the store cannot be read.
        """
        now = self._context.now()
        return now < token.exp and not await self.taken_back(token.claims, kid=token.kid, now=now, max_age=max_age)

    async def taken_back(
        self, claims: dict[str, Any], *, kid: str | None, now: NumericDate, max_age: float = 0
    ) -> bool:
        """Say whether a verified token of ours was taken back, or its client disabled.

        Raises:
            Unavailable: the store cannot be read.
        """
        client_id = claims.get("client_id")
        client = await self._clients.get(ClientId(client_id)) if isinstance(client_id, str) else None
        if client is None or not client.enabled:
            return True
        return await self._taken_back.names(claims, kid=kid, now=now, max_age=max_age)


def _form_token(request: Request) -> str | None:
    media_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
    if request.method != "POST" or media_type != FORM_CONTENT_TYPE:
        return None
    return request.form().get("access_token")


def challenge(request: Request, error: RequestError) -> Answer:
    """Render a refusal with the bearer challenge (RFC 6750 §3)."""
    if error.status not in {401, 403}:
        return refusal(error)
    value = 'Bearer realm="portero"'
    if not isinstance(error, NoToken):
        value += f', error="{error.error}", error_description="{error.description}"'
    return refusal(error, headers=((b"www-authenticate", value.encode("latin-1", "replace")),))
