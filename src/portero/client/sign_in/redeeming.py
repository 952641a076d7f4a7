"""From the answer of a sign-in to a session: what all ways have in common."""

from __future__ import annotations

from portero.adapters.fetch.requests import FetchRequest
from portero.client.core import Era
from portero.client.errors import CodeRefused, TokenEndpointUnavailable
from portero.client.protocol.authorization import check_id_token
from portero.client.protocol.metadata import ServerMetadata
from portero.client.protocol.token import Granted, Refused, TokenOutcome, code_request
from portero.client.session import Session
from portero.client.tokens import unverified_claims
from portero.core.types import Secret


def exchange_code(
    session: Session,
    code: Secret[str],
    *,
    era: Era,
    code_verifier: Secret[str],
    redirect_uri: str | None,
    nonce: str | None,
    key: Secret[str] | None,
) -> None:
    """Exchange a code, and take over what comes back; raises as `redeem`."""
    core = session.core
    sent_at = core.clock.now()

    def build(known: ServerMetadata) -> FetchRequest:
        return code_request(
            known.token_endpoint, core.who, code=code, code_verifier=code_verifier, redirect_uri=redirect_uri
        )

    redeem(session, core.ask("code.sent", build, key=key), era=era, sent_at=sent_at, nonce=nonce, key=key)


def redeem(
    session: Session, outcome: TokenOutcome, *, era: Era, sent_at: float, nonce: str | None, key: Secret[str] | None
) -> None:
    """Take over what the token endpoint answered to a sign-in.

    Raises:
        CodeRefused, TokenEndpointUnavailable, IdTokenInvalid: there is no session.
        SignInRequired: somebody signed out meanwhile.
        StoreUnavailable: the tokens cannot be kept.
    """
    if isinstance(outcome, Refused):
        raise CodeRefused(outcome.reason)
    if not isinstance(outcome, Granted):
        raise TokenEndpointUnavailable(outcome.error or outcome.reason)
    config = session.config
    try:
        check_id_token(
            unverified_claims(outcome.grant.id_token), issuer=config.issuer, client_id=config.client_id, nonce=nonce
        )
    except Exception:
        session.core.drop(outcome.grant.refresh_token)
        raise
    session.finish_sign_in(outcome.grant, era=era, sent_at=sent_at, key=key)
