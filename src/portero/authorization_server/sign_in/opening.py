"""A proven person becomes a browser session: the one place where sign-ins begin, whoever vouched."""

from __future__ import annotations

from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.visit import Visit
from portero.authorization_server.sign_in import browser_session
from portero.authorization_server.sign_in.browser_session import Present
from portero.authorization_server.sign_in.linking import person_meant
from portero.authorization_server.sign_in.method import Proven
from portero.authorization_server.sign_in.transactions import PendingAuthorization, Transaction
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import Audit, Client, Decision, LoginKey, LoginTransaction, Put
from portero.core.types import NumericDate


async def open_session(
    site: Site, visit: Visit, proven: Proven, *, method: str, transaction: Transaction, client: Client | None
) -> Present:
    """Make the browser session, remember it in the attempt, and let it take the place of the one before.

    Raises:
        RedirectedError: `login_required`: the application waits for somebody else (OIDC Core §3.1.2.1).
        RequestError: `sign_in_elsewhere`: the attempt expired meanwhile; `no_account`: nobody here is linked to who
            was vouched for, or that account is disabled.
        Unavailable: nothing was opened.
    """
    pending = transaction.pending
    request = pending.request if isinstance(pending, PendingAuthorization) else None
    user = await person_meant(site, proven.who, request=request)
    before = await browser_session.find(site, visit)
    secret, session = browser_session.fresh(site, visit, user=user, proven=proven)
    now = site.context.now()
    event = signed_in(session, client=client, method=method, now=now)

    def decide(record: LoginTransaction | None) -> Decision[bool]:
        if record is None:
            return Decision(False)
        return Decision(True, (Put(session), Put(transaction.by(session.id_digest)), Audit(event)), (event,))

    if not await site.context.commit(LoginKey(transaction.record.id_digest), decide, now=now):
        raise RequestError("sign_in_elsewhere", "this sign-in is not under way here", detail="expired meanwhile")
    if before is not None:
        await browser_session.replace_session(site, old=before.session, new=session)
    return Present(secret, session, user)


def signed_in(session: BrowserSession, *, client: Client | None, method: str, now: NumericDate) -> Event:
    """What the audit trail says of a sign-in."""
    client_id = None if client is None else client.client_id
    fields = {"device": session.device, "method": method}
    return Event(EventName.SIGNED_IN, now, session.subject, client_id, fields=fields)
