"""Our sign-out goes on at the provider (OpenID Connect RP-Initiated Logout 1.0 §2), and comes back."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from portero.authorization_server.pages.answers import see_other
from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in.cookies import is_handle
from portero.authorization_server.sign_in.methods.openid.provider import Provider


def location(site: Site, provider: Provider, endpoint: str, *, hint: str) -> str:
    """Where the browser goes.

    Args:
        endpoint: the provider's `end_session_endpoint`.
        hint: the ID token of the sign-in that ended; with it the provider need not ask.
    """
    members = {
        "id_token_hint": hint,
        "client_id": provider.client_id,
        "post_logout_redirect_uri": f"{site.issuer}{_path(provider)}",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(members)}"


def route(site: Site, provider: Provider) -> BaseRoute:
    """Where the provider sends the browser afterwards. `state` names what waits here; it opens nothing by itself."""

    async def returned(site: Site, visit: Visit) -> Response:
        handle = visit.query.get("state") or ""
        return see_other(site.path(f"/end_session?login={handle}" if is_handle(handle) else "/signed-out"))

    return Route(_path(provider), site.endpoint(returned), methods=["GET"])


def _path(provider: Provider) -> str:
    return f"/sign-in/openid/{provider.name}/signed-out"
