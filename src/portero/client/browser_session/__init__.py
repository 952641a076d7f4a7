"""The browser session (backend for frontend, RFC 10017 §6.1): tokens stay on the server, the page has a cookie.

    session = BrowserSession(
        Settings(
            issuer="https://login.example",
            client_id="shop-web",
            client_secret=Secret(os.environ["SHOP_CLIENT_SECRET"]),
            origin="https://shop.example",
            secrets=(Secret(os.environ["SHOP_SESSION_SECRET"]),),
            scope="openid profile orders:read",
            upstreams={"/api/orders": "http://orders:8101/orders"},
        ),
        sessions=SqliteSessions(Path("sessions.db"), secrets=...),
        app=app,
    )

An ASGI application around, beside or mounted in yours. The page uses `@portero/browser/bff`.
"""

from portero.client.browser_session.application import BrowserSession as BrowserSession
from portero.client.browser_session.sessions import MemorySessions as MemorySessions
from portero.client.browser_session.sessions import Sessions as Sessions
from portero.client.browser_session.sessions_sealed import SealedSessions as SealedSessions
from portero.client.browser_session.sessions_sqlite import SqliteSessions as SqliteSessions
from portero.client.browser_session.settings import Settings as Settings
from portero.core.types import Secret as Secret
