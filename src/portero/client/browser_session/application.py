"""The ASGI application: which path does what, and what a failure looks like.

    GET  base                        who is signed in, or 401
    GET  base/sign-in?return_to=     to the sign-in page            (a navigation)
    GET  base/callback               and back                       (a navigation)
    POST base/sign-out               ends the session, here and at the server
    POST base/back-channel-logout    the server says that a session ended
    *    what is below `upstreams`   to that service, with the token
    *    anything else               to `app`, where there is one

Works wherever it is put: around an application, mounted in one, alone behind a gateway. Paths are those the browser
sees; `Settings.origin` says who the browser thinks it talks to, never a `Host` or `X-Forwarded-…` header.
"""

from __future__ import annotations

import logging
import ssl
from typing import Final

from portero.adapters.fetch.http import AsyncFetcher
from portero.adapters.system import SystemClock, SystemRandom
from portero.client.browser_session.back_channel import BackChannel
from portero.client.browser_session.cookies import Cookies
from portero.client.browser_session.defence import Defence
from portero.client.browser_session.exchange import App, Exchange, Gone, Message, Receive, Scope, Send
from portero.client.browser_session.issuer import AuthorizationServer
from portero.client.browser_session.proxy import OneShotBody, Target, Upstreams
from portero.client.browser_session.proxy_websocket import pass_on_websocket
from portero.client.browser_session.records import Session
from portero.client.browser_session.refreshing import Refresher, SessionOver
from portero.client.browser_session.sessions import Sessions
from portero.client.browser_session.settings import Settings
from portero.client.browser_session.sign_in import SignIns
from portero.client.browser_session.sign_out import sign_out
from portero.client.protocol.token import ClientIdentity
from portero.core.errors import RequestError, Unavailable
from portero.ports import Clock, Random

logger = logging.getLogger(__name__)

_COOKIES: Final = "portero.browser_session.cookies"
CHALLENGE: Final = (b"www-authenticate", b"Portero-Session")
"""On our own 401 and on no service's: the page can tell a session that is over from a service that says no."""


class BrowserSession:
    """A session for browsers: cookies in front, tokens behind.

    Args:
        settings: what it is a client of, and where.
        sessions: where the tokens are kept (`MemorySessions`, `SqliteSessions`, `SealedSessions`, or your own).
        app: what answers everything that is not ours; without one that is a 404.
        tls: whom to trust when talking to the authorization server; the system's authorities when absent.
        clock, random: for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sessions: Sessions,
        app: App | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        clock, random = clock or SystemClock(), random or SystemRandom()
        self._settings = settings
        self._sessions = sessions
        self._app = app
        self._clock = clock
        self._fetcher = AsyncFetcher(ssl_context=tls)
        identity = ClientIdentity(settings.client_id, settings.client_secret)
        server = AuthorizationServer(settings.issuer, identity, fetcher=self._fetcher, clock=clock)
        self._cookies = Cookies.of(origin=settings.origin, client_id=settings.client_id)
        self._defence = Defence(origin=settings.origin, cookie=self._cookies.session)
        self._refresher = Refresher(server, sessions, clock=clock, random=random)
        self._upstreams = Upstreams(settings.upstreams, self._refresher)
        self._sign_ins = SignIns(
            settings, server, sessions, self._refresher, cookies=self._cookies, clock=clock, random=random
        )
        self._back_channel = BackChannel(settings, server, sessions, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] not in ("http", "websocket"):
            raise NotImplementedError(f"connections of type {scope['type']!r} are not known here")
        elif self._is_ours(scope["path"]):
            exchange = Exchange(scope, receive, send)
            if scope["type"] == "websocket":
                await self._websocket(exchange)
            else:
                await self._guarded(exchange)
        elif self._app is not None:
            await self._app(scope, receive, _with_cookies(scope, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4404})
        else:
            await Exchange(scope, receive, send).problem(404, "nothing is here")

    async def page_session(self, scope: Scope) -> Session | None:
        """The session of somebody who opens a page that `app` renders on the server, with a token worth sending.

        A navigation has no custom header, so this is for reading only: what changes something comes by script.
        The cookie that a refresh may bring goes with the answer by itself.

        Args:
            scope: of a GET or HEAD request that came through this application.

        Raises:
            ValueError: another method.
            RequestError: two credentials.
            Unavailable: a refresh is due and cannot be had right now.
        """
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            raise ValueError("a page is read with GET or HEAD")
        exchange = Exchange(scope, _nothing, _nowhere)
        cookie = self._defence.cookie_of(exchange, page=True)
        session = None if cookie is None else await self._sessions.find(cookie, now=self._clock.now())
        if session is None:
            return None
        try:
            session = await self._refresher.usable(session)
        except SessionOver as error:
            if error.forget:
                scope.setdefault(_COOKIES, []).append(self._cookies.clear_session())
            return None
        scope.setdefault(_COOKIES, []).extend(self._renewed(session))
        return session

    async def aclose(self) -> None:
        """Leave nothing running or open. Called by the lifespan where this is the outermost application."""
        await self._refresher.aclose()
        await self._upstreams.aclose()
        await self._fetcher.aclose()
        await self._sessions.aclose()

    def _is_ours(self, path: str) -> bool:
        places = (self._settings.base, *self._settings.upstreams)
        return any(path == place or path.startswith(place + "/") for place in places)

    async def _guarded(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange)
        except Gone:
            return
        except SessionOver as error:
            if error.forget:
                exchange.cookies_to_set.append(self._cookies.clear_session())
            await exchange.problem(401, "nobody is signed in here", headers=[CHALLENGE])
        except RequestError as error:
            if exchange.started:
                raise
            await exchange.problem(error.status, error.description)
        except Unavailable as error:
            if exchange.started:
                raise
            logger.warning("%s", error)
            # Ours or the world's fault, never the caller's: not a word about the session.
            detail = (
                "this request was not served; send it again"
                if isinstance(error, OneShotBody)
                else "this cannot be served right now"
            )
            await exchange.problem(503, detail, headers=[(b"retry-after", str(error.retry_after).encode())])

    async def _serve(self, exchange: Exchange) -> None:
        base = self._settings.base
        match exchange.method, exchange.path.removeprefix(base) if exchange.path.startswith(base) else None:
            case "GET", "/sign-in":
                await self._sign_ins.begin(exchange)
            case "GET", "/callback":
                await self._sign_ins.finish(exchange)
            case "POST", "/back-channel-logout":
                await self._back_channel.receive(exchange)
            case "GET", "":
                session = await self._refresher.usable(await self._session(exchange))
                exchange.cookies_to_set += self._renewed(session)
                await exchange.json(dict(session.claims))
            case "POST", "/sign-out":
                cookie = self._defence.cookie_of(exchange)
                left = await self._sessions.find(cookie, now=self._clock.now()) if cookie else None
                await sign_out(left, self._sessions, self._refresher)
                exchange.cookies_to_set.append(self._cookies.clear_session())
                await exchange.json({})
            case _, "" | "/sign-in" | "/callback" | "/back-channel-logout" | "/sign-out":
                raise RequestError("invalid_request", "this path does not answer that method", status=405)
            case _:
                target = self._upstreams.target_of(exchange.scope)
                if target is None:
                    raise RequestError("invalid_request", "nothing is here", status=404)
                await self._pass_on(exchange, target)

    async def _pass_on(self, exchange: Exchange, target: Target) -> None:
        session = await self._session(exchange)
        await self._upstreams.pass_on(exchange, target, session, cookies=lambda used: self._renewed(used))

    async def _websocket(self, exchange: Exchange) -> None:
        try:
            target = self._upstreams.target_of(exchange.scope)
            if target is None:
                raise RequestError("invalid_request", "nothing is here", status=404)
            session = await self._refresher.usable(await self._session(exchange, websocket=True))
        except SessionOver:
            await refuse_websocket(exchange, 4401)
        except RequestError as error:
            await refuse_websocket(exchange, 4400 + error.status % 100)
        except Unavailable:
            await refuse_websocket(exchange, 1013)
        else:
            await pass_on_websocket(exchange, target, session)

    async def _session(self, exchange: Exchange, *, websocket: bool = False) -> Session:
        cookie = self._defence.cookie_of(exchange, websocket=websocket)
        if cookie is None:
            raise SessionOver("no cookie", forget=False)
        session = await self._sessions.find(cookie, now=self._clock.now())
        if session is None:
            raise SessionOver("unknown", forget=True)
        return session

    def _renewed(self, session: Session) -> list[str]:
        # Only a store that keeps the session in the cookie has something to say after a refresh.
        value = self._sessions.renewed_cookie(session) if session.version > 0 else None
        if value is None:
            return []
        return [self._cookies.set_session(value, max_age=max(0, int(session.ends - self._clock.now())))]

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is not None:

            async def send_and_close(message: dict[str, object]) -> None:
                if str(message["type"]).startswith("lifespan.shutdown"):
                    await self.aclose()
                await send(message)

            await self._app(scope, receive, send_and_close)  # type: ignore[arg-type]
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _with_cookies(scope: Scope, send: Send) -> Send:
    """Add what `page_session` has to say to the browser."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and (cookies := scope.get(_COOKIES)):
            headers = [*message.get("headers", ()), *((b"set-cookie", cookie.encode("latin-1")) for cookie in cookies)]
            message = {**message, "headers": headers}
        await send(message)

    return sending


async def _nothing() -> Message:
    raise Gone


async def _nowhere(_message: Message) -> None:
    raise Gone


async def refuse_websocket(exchange: Exchange, code: int) -> None:
    """Refuse a handshake: before it is accepted that is HTTP's 403 (ASGI has no other), and the close code for servers
    that tell it."""
    await exchange.receive()
    await exchange.send({"type": "websocket.close", "code": code})
