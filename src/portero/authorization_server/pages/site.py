"""What every page shares: templates, texts, headers, and the translation of errors into pages.

The template engine is imported with the first page, not at start-up, and each template is
compiled once. A refusal gets a reference that the person can quote and an operator can find
in the log; the log has the reason, the page only what a person can use.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from portero.adapters.telemetry.json_log import log
from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.exchange import Disconnected
from portero.authorization_server.pages.answers import SecurityHeaders
from portero.authorization_server.pages.brand import StyleSheet, style_sheet
from portero.authorization_server.pages.texts import Texts, scope_catalogues, texts_in
from portero.authorization_server.pages.visit import Visit, language_of, read_visit
from portero.authorization_server.sign_in.cookies import Cookies, cookies_of
from portero.authorization_server.sign_in.throttle import SignInThrottle
from portero.core.errors import RequestError, Unavailable
from portero.core.types import Issuer

if TYPE_CHECKING:
    from jinja2 import Environment

    from portero.authorization_server.sign_in.method import Method

_LEFT_OUTSIDE = frozenset({"sign_in_elsewhere", "form_not_from_here"})
"""Refusals after which a person has nothing to go on with: their page leads to their account."""
Handler = Callable[["Site", Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Site:
    """The browser-facing half of one server."""

    context: Context
    cookies: Cookies
    throttle: SignInThrottle
    headers: SecurityHeaders
    styles: StyleSheet
    origin: str
    """Our own, as browsers name it."""
    base: str
    """The issuer's path, before each of our links; mostly empty."""
    methods: Mapping[str, Method]
    """The ways to sign in, in the order the page shows them."""
    offered_acr: tuple[str, ...]
    """The authentication context classes that they bring about."""

    @property
    def issuer(self) -> Issuer:
        """Our name in every answer."""
        return Issuer(self.context.config.issuer)

    @property
    def others_vouch(self) -> bool:
        """There are ways to sign in by somebody else's word, which a person may link."""
        return any(method.panel is None for method in self.methods.values())

    def method_with_form(self, named: str | None) -> Method | None:
        """The way to sign in whose form was sent: the one it names, else the first that has a form."""
        with_form = (each for each in self.methods.values() if each.panel is not None)
        return next((each for each in with_form if named in (None, each.name)), None)

    def path(self, path: str) -> str:
        """A link to one of our pages."""
        return self.base + path

    def texts(self, language: str) -> Texts:
        """What our pages say, those of the ways to sign in among them."""
        of_methods = (method.texts for method in self.methods.values())
        return texts_in(language, *of_methods, scope_catalogues(self.context.config.scope_texts))

    def page(
        self,
        template: str,
        *,
        language: str,
        status: int = 200,
        form_targets: Iterable[str] = (),
        script: str | None = None,
        **values: Any,
    ) -> Response:
        """Render a page.

        Args:
            language: one of the configured languages.
            form_targets: CSP sources where its form may end, beside ourselves.
            script: CSP hash source of the page's one inline script.
            values: what the template shows; texts are escaped there.
        """
        texts = self.texts(language)
        html = (
            _templates()
            .get_template(template)
            .render(t=texts, named=texts_in, site=self, brand=self.context.config.brand_name, **values)
        )
        response = Response(html, status_code=status, media_type="text/html; charset=utf-8")
        response.headers["content-language"] = language
        self.headers.apply(response, form_targets=form_targets, script=script)
        return response

    def endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Turn a handler of visits into one of requests: read strictly, and explain what fails."""

        async def answer(request: Request) -> Response:
            language = language_of(request, self.context.config)
            try:
                visit = await read_visit(request, self.context.config)
                language = visit.language
                response = await handler(self, visit)
            except RequestError as error:
                return self.error_page(error, language=language, reference=self._reference(request))
            except Unavailable as failure:
                return self.unavailable_page(failure, language=language, reference=self._reference(request))
            except Disconnected:
                return Response(status_code=400)
            except Exception as error:
                # A bug of ours. It ends here and not at the edge, because a person looks at the answer.
                return self._internal_page(error, language=language, reference=self._reference(request))
            if "content-security-policy" not in response.headers:
                self.headers.apply(response)
            return response

        return answer

    def error_page(self, error: RequestError, *, language: str, reference: str) -> Response:
        """Say that a request was refused, without sending the browser anywhere."""
        log("refused", {"error_code": error.error, "detail": error.detail, "request_id": reference})
        known = self.texts(language).has(f"error.{error.error}.title")
        return self._error(
            error.error if known else "request",
            status=error.status,
            language=language,
            reference=reference,
            technical=None if known else f"{error.error}: {error.description}",
        )

    def unavailable_page(self, failure: Unavailable, *, language: str, reference: str) -> Response:
        """Say that it is us, not them (503), and when to come back."""
        log("unavailable", {"what": failure.what, "request_id": reference}, level=logging.ERROR)
        response = self._error("unavailable", status=503, language=language, reference=reference)
        response.headers["retry-after"] = str(max(1, failure.retry_after))
        return response

    def router_page(self, request: Request, *, status: int) -> Response | None:
        """The page for what the router refuses (404, 405), where a person's browser asked; else None."""
        kind = {404: "not_found", 405: "method_not_allowed"}.get(status)
        if kind is None or "text/html" not in request.headers.get("accept", ""):
            return None
        language = language_of(request, self.context.config)
        return self._error(kind, status=status, language=language, reference=self._reference(request))

    def _internal_page(self, error: Exception, *, language: str, reference: str) -> Response:
        log("a request failed", {"request_id": reference}, level=logging.ERROR, error=error)
        return self._error("internal", status=500, language=language, reference=reference)

    def _error(
        self, kind: str, *, status: int, language: str, reference: str, technical: str | None = None
    ) -> Response:
        texts = self.texts(language)
        return self.page(
            "error.html",
            language=language,
            status=status,
            title=texts(f"error.{kind}.title"),
            body=texts(f"error.{kind}.body"),
            technical=technical,
            reference=reference,
            to_account=kind in _LEFT_OUTSIDE,
        )

    def _reference(self, request: Request) -> str:
        """The request's name in the log, where the edge gave it one."""
        named = request.scope.get("state", {}).get("request_id")
        return named if isinstance(named, str) else self.context.random.bytes(8).hex()


def site_of(context: Context) -> Site:
    """Build the site of one server."""
    from portero.authorization_server.sign_in.methods import offered_acr, open_methods  # they know this room

    issuer = urlsplit(context.config.issuer)
    methods = open_methods(context.config.sign_in)
    return Site(
        context=context,
        cookies=cookies_of(Issuer(context.config.issuer)),
        throttle=SignInThrottle(),
        headers=SecurityHeaders(secure=issuer.scheme == "https"),
        styles=style_sheet(context.config.brand_color),
        origin=f"{issuer.scheme}://{issuer.netloc}",
        base=issuer.path.rstrip("/"),
        methods=methods,
        offered_acr=offered_acr(methods),
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    # Here and not above: importing Jinja2 costs a tenth of our start-up, and many servers show no page for a while.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader((Path(__file__).with_name("templates"), Path(__file__).parents[1] / "sign_in/methods")),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
