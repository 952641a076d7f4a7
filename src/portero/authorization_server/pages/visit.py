"""One request by a person's browser, read once and strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from portero.authorization_server.config import Config
from portero.authorization_server.endpoints.exchange import BodyTooLarge, read_body
from portero.authorization_server.pages.language import choose_language
from portero.authorization_server.sign_in.address import Address, client_address
from portero.authorization_server.sign_in.cookies import parse_cookie_header
from portero.core.errors import RequestError
from portero.core.oauth.forms import Parameters, parse_form, parse_query

_NOTHING = Parameters({})


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page may know of a request. Cookies and parameters never show in a repr."""

    method: str
    query: Parameters
    form: Parameters
    """Empty but for POST."""
    cookies: Mapping[str, str] = field(repr=False)
    language: str
    user_agent: str
    address: Address | None
    origin: str | None
    fetch_site: str | None

    @property
    def parameters(self) -> Parameters:
        """Where an endpoint that serves both methods reads: the form of a POST, the query of a GET."""
        return self.form if self.method == "POST" else self.query


def language_of(request: Request, config: Config, *, ui_locales: tuple[str, ...] = ()) -> str:
    """The language to answer in, as far as the headers tell."""
    return choose_language(
        ui_locales=ui_locales, accept_language=request.headers.get("accept-language", ""), offered=config.languages
    )


async def read_visit(request: Request, config: Config) -> Visit:
    """Read the request.

    Raises:
        RequestError: `invalid_request`, for a page.
        Disconnected: the browser went away.
    """
    query = parse_query(request.scope["query_string"])
    form = _NOTHING
    if request.method == "POST":
        try:
            body = await read_body(request.scope["headers"], request.receive)
        except BodyTooLarge:
            raise RequestError("invalid_request", "the body is too large", status=413) from None
        form = parse_form(body, content_type=request.headers.get("content-type"))
    wanted = form.get("ui_locales") or query.get("ui_locales") or ""
    return Visit(
        method=request.method,
        query=query,
        form=form,
        cookies=parse_cookie_header(request.headers.get("cookie", "")),
        language=language_of(request, config, ui_locales=tuple(wanted.split()[:16])),
        user_agent=request.headers.get("user-agent", ""),
        address=client_address(
            None if request.client is None else request.client.host,
            forwarded_for=request.headers.getlist("x-forwarded-for"),
            trusted_proxies=config.trusted_proxies,
        ),
        origin=request.headers.get("origin"),
        fetch_site=request.headers.get("sec-fetch-site"),
    )
