"""Who may use the cookie: our own page, by a request that no other site's page can make (RFC 10017 §6.1.3.3).

`SameSite` alone does not do it: another host of the same site (`blog.shop.example`) is "same site". So every request
needs the custom header, which a foreign page cannot add without a preflight that nobody answers, and an exact `Origin`
where there is one; a WebSocket handshake, which takes no header and asks no preflight, always needs the `Origin`.
"""

from __future__ import annotations

from portero.client.browser_session.cookies import parse_cookies
from portero.client.browser_session.exchange import Exchange
from portero.core.errors import RequestError
from portero.core.policy.cookie_credential import CookieCredential

HEADER = "x-portero"
_CREDENTIALS = ("authorization", "dpop", "proxy-authorization")


class Defence:
    """Judges requests that come with a cookie, or should.

    Args:
        origin: of the page.
        cookie: name of the session's.
    """

    def __init__(self, *, origin: str, cookie: str) -> None:
        self._cookie = cookie
        self._credential = CookieCredential(origins=[origin], name=cookie, header=HEADER)

    def cookie_of(self, exchange: Exchange, *, websocket: bool = False, page: bool = False) -> str | None:
        """The session's cookie, of a request that our page made; None where it has none.

        Args:
            exchange: the request.
            websocket: it is a handshake.
            page: it is a navigation, which only reads.

        Raises:
            RequestError: not made by our page, or with two credentials.
        """
        if not page and not self._credential.is_from_our_page(exchange.header, websocket=websocket):
            needs = "the page's own Origin" if websocket else f"the header {HEADER} and the page's own Origin"
            raise RequestError("invalid_request", f"a request with this session needs {needs}", status=403)
        values = parse_cookies(exchange.header("cookie")).get(self._cookie, [])
        if len(values) > 1:
            raise RequestError("invalid_request", "the session's cookie is repeated")
        if values and any(exchange.header(name) is not None for name in _CREDENTIALS):
            # RFC 6750 §2: two credentials, and none of them is tried.
            raise RequestError("invalid_request", "a cookie and a token in one request: sign out of one of them first")
        return values[0] if values and values[0] else None
