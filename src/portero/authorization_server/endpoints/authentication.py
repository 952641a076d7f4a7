"""Client authentication at the token, revocation and introspection endpoints: look up, check, spend the assertion."""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.exchange import Request
from portero.authorization_server.endpoints.responses import Answer, Headers, refusal
from portero.core.errors import RequestError
from portero.core.oauth.client_authentication import (
    AuthenticatedClient,
    BasicRefused,
    authenticate_client,
    parse_credentials,
    replayed_assertion,
)
from portero.core.oauth.forms import Parameters
from portero.core.oauth.single_use import decide_first_use
from portero.core.transitions import Decision, ReplayKey, ReplayMark
from portero.core.types import Issuer, NumericDate

BASIC_CHALLENGE: Headers = ((b"www-authenticate", b'Basic realm="portero", charset="UTF-8"'),)


class ClientAuthenticator:
    """Authenticates the client of a request."""

    def __init__(self, context: Context, clients: Clients) -> None:
        self._context = context
        self._clients = clients
        self._issuer = Issuer(context.config.issuer)
        self._leeway = int(context.config.leeway.total_seconds())

    async def authenticate(self, request: Request, form: Parameters, *, now: NumericDate) -> AuthenticatedClient:
        """Authenticate, and spend the assertion where there is one.

        Raises:
            RequestError: `invalid_client`, `invalid_request`. At most the assertion's `jti` was committed.
            Unavailable: the store cannot be reached.
        """
        presented = parse_credentials(form, authorization=request.header(b"authorization"))
        client = await self._clients.get(presented.unverified_client_id)
        authenticated = authenticate_client(presented, client, issuer=self._issuer, now=now, leeway=self._leeway)
        if authenticated.replay is not None and not await first_use(self._context, authenticated.replay, now=now):
            raise replayed_assertion()
        return authenticated


async def first_use(context: Context, mark: ReplayMark, *, now: NumericDate) -> bool:
    """Spend a value that may be seen once; False where it was seen before.

    Raises:
        Unavailable: the store cannot be reached.
    """

    def decide(seen: ReplayMark | None) -> Decision[bool]:
        return decide_first_use(seen, mark=mark)

    return await context.commit(ReplayKey(mark.digest), decide, now=now)


def refuse_client(request: Request, error: RequestError) -> Answer:
    """Render a refusal; where Basic was tried and failed, with its challenge (RFC 6749 §5.2)."""
    return refusal(error, headers=BASIC_CHALLENGE if isinstance(error, BasicRefused) else ())
