"""The composition root: settings → ports → context → ASGI application.

Here, and nowhere else on this floor, adapters are chosen. What a start does not need is not
imported: no password hashing, no migrations, no templates (each would cost a part of the second
in which a server is up).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from portero.adapters.fetch.post import Poster
from portero.adapters.keys.secrets_file import Secrets, make_secrets, open_secrets
from portero.adapters.passwords.argon2 import Argon2PasswordHasher
from portero.adapters.storage.open import open_store
from portero.adapters.system import SystemClock, SystemRandom
from portero.adapters.telemetry.counters import CONTENT_TYPE, Counters
from portero.adapters.telemetry.json_log import LogTelemetry
from portero.authorization_server.api.gate import api_routes
from portero.authorization_server.config import MEMORY, Config, check_config, is_loopback
from portero.authorization_server.context import ClientDocuments, Context, KeyRing
from portero.authorization_server.delivery import Courier
from portero.authorization_server.edge import Edge
from portero.authorization_server.endpoints import routes
from portero.authorization_server.endpoints.exchange import Endpoint
from portero.authorization_server.endpoints.feed_metrics import feed_metrics
from portero.authorization_server.endpoints.hub import Hub
from portero.authorization_server.endpoints.responses import Answer, not_found, problem
from portero.authorization_server.key_ring import open_key_ring
from portero.authorization_server.outbox import Outbox
from portero.authorization_server.pages.routes import browser_routes
from portero.authorization_server.pages.site import Site, site_of
from portero.authorization_server.sign_in.address import client_address
from portero.core.errors import Unavailable
from portero.core.logout.receivers import Network
from portero.core.oauth.client_document import MAX_BYTES
from portero.core.revocation.epoch import restored_at_of
from portero.core.sessions.rules import check_client_policy
from portero.core.transitions import ClientsKey, FeedKey, SigningKeysKey, SigningKeyStatus
from portero.core.types import NumericDate
from portero.ports import Clock, Random, Store


async def open_context(config: Config, *, clock: Clock | None = None, random: Random | None = None) -> Context:
    """Check the settings, open the store, the secrets and the key ring, and check the clients.

    Whoever opens a context closes its store (`create_app` does at its end).

    Raises:
        ConfigurationError: a setting, the secrets file or a registered client is wrong.
        Unavailable: the database cannot be reached.
    """
    check_config(config)
    clock, random = clock or SystemClock(), random or SystemRandom()
    store = await open_store(config.database, random=random, clock=clock)
    try:
        for client in await store.read(ClientsKey()):
            check_client_policy(client)
        secrets = await _open_secrets(config, store, random=random)
        key_ring = await open_key_ring(config, store=store, secrets=secrets, clock=clock, random=random)
        return Context(
            config=config,
            store=store,
            clock=clock,
            random=random,
            key_ring=key_ring,
            tag_keys=secrets.tag_keys,
            passwords=Argon2PasswordHasher(),
            telemetry=LogTelemetry(Counters()),
            client_documents=_client_documents(config, clock, key_ring),
            restored_at=restored_at_of((await store.read(FeedKey(0, NumericDate(int(clock.now())), limit=1))).epoch),
        )
    except BaseException:
        await store.aclose()
        raise


def _client_documents(config: Config, clock: Clock, key_ring: KeyRing) -> ClientDocuments | None:
    if not config.client_metadata_hosts:
        return None
    # Few servers read documents; the others do not pay for an HTTP client.
    from portero.adapters.fetch.judged import JudgedFetcher
    from portero.authorization_server.client_documents import FetchedDocuments

    fetcher = JudgedFetcher(networks=delivery_networks(config), max_bytes=MAX_BYTES)
    return FetchedDocuments(config, clock, fetcher, algorithms=key_ring.algorithms)


async def _open_secrets(config: Config, store: Store, *, random: Random) -> Secrets:
    if config.database == MEMORY:
        return make_secrets(random=random)
    # The first signing key is sealed under a key of the file: without one, nothing depends on a lost file.
    database_is_new = not await store.read(SigningKeysKey())
    return open_secrets(config.secrets_file, database_is_new=database_is_new, random=random)


def create_app(context: Context) -> Edge:
    """Build the ASGI application around an open context; its lifespan's end closes the store."""
    config = context.config
    counters = context.telemetry.counters if isinstance(context.telemetry, LogTelemetry) else Counters()
    hub = Hub(context.store, context.clock)
    outbox = Outbox(context, Courier(context, Poster(networks=delivery_networks(config))))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(outbox.run(), name="outbox")
        try:
            yield
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker
            await context.store.aclose()

    app = _Application(
        routes=[
            *routes(context, hub=hub, news=outbox.news),
            *browser_routes(context),
            *api_routes(context),
            *_operator_routes(context, counters, hub),
        ],
        exception_handlers={HTTPException: _http_error(site_of(context))},
        lifespan=lifespan,
    )
    return Edge(
        app,
        clock=context.clock,
        random=context.random,
        counters=counters,
        https=config.issuer.startswith("https:"),
        access_log=config.access_log,
        ending=hub.close,
    )


class _Application(Starlette):
    """Starlette without its own answer to unexpected errors, which is plain text and comes before ours (`edge`).

    Protocol endpoints (`exchange.Endpoint`) need neither its router, which tries route after route, nor its layers:
    their fixed paths are looked up.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    @cached_property
    def _endpoints(self) -> dict[str, Endpoint]:
        found: dict[str, Endpoint] = {}
        for route in self.routes:
            if isinstance(route, Route) and isinstance(route.endpoint, Endpoint) and not route.param_convertors:
                found.setdefault(route.path, route.endpoint)
        return found

    def build_middleware_stack(self) -> ASGIApp:
        return ExceptionMiddleware(self.router, handlers=self.exception_handlers)


def _operator_routes(context: Context, counters: Counters, hub: Hub) -> list[Route]:
    networks = context.config.metrics_networks

    async def live(_request: Request) -> Response:
        return Response(b'{"status":"live"}', media_type="application/json")

    async def ready(_request: Request) -> Response:
        # Unavailable becomes a 503 at the edge.
        keys = await context.store.read(SigningKeysKey())
        if not any(key.status is SigningKeyStatus.SIGNING for key in keys):
            raise Unavailable("no key signs")
        return Response(b'{"status":"ready"}', media_type="application/json")

    async def metrics(request: Request) -> Response:
        # The peer itself, and nobody it speaks for: what came through a proxy came from outside.
        forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via"))
        peer = None if request.client is None else request.client.host
        if forwarded or not is_within(peer, networks):
            return _response(not_found())
        return Response(counters.render() + await feed_metrics(context, hub), headers={"content-type": CONTENT_TYPE})

    return [Route("/healthz", live), Route("/readyz", ready), Route("/metrics", metrics)]


def delivery_networks(config: Config) -> list[Network]:
    """Where receivers may be beside the public internet: what the operator names, and this machine in development."""
    local = ("127.0.0.0/8", "::1/128") if is_loopback(urlsplit(config.issuer).hostname or "") else ()
    return [ipaddress.ip_network(network) for network in (*config.delivery_networks, *local)]


def is_within(address: str | None, networks: Sequence[str]) -> bool:
    """Tell whether a peer's address is in one of the networks; never for a peer without one."""
    known = client_address(address, forwarded_for=(), trusted_proxies=())
    return known is not None and any(known in ipaddress.ip_network(network) for network in networks)


def _http_error(site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answer what the router refuses (no such path, no such method): a page for people, a problem for programs."""

    async def answer(request: Request, error: Exception) -> Response:
        status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
        named = (error.headers or {}) if isinstance(error, HTTPException) else {}
        page = site.router_page(request, status=status.value)
        if page is not None:
            page.headers.update(named)
            return page
        if status == HTTPStatus.NOT_FOUND:
            return _response(not_found())
        headers = tuple((name.lower().encode(), value.encode()) for name, value in named.items())
        detail = (
            "this path does not answer that method"
            if status == HTTPStatus.METHOD_NOT_ALLOWED
            else "the request cannot be served"
        )
        return _response(problem(status, detail=detail, headers=headers))

    return answer


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers.extend(answer.headers)
    return response
