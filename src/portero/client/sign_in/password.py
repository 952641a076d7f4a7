"""Sign in with a name and a password that this program asked for (draft-ietf-oauth-first-party-apps-04).

For programs of the house only: the server must have `direct_sign_in` for this client. Everybody else, and everything
but a password, goes to the sign-in page.
"""

from __future__ import annotations

from collections.abc import Callable

from portero.client.errors import RedirectRequired, TokenEndpointUnavailable
from portero.client.protocol.authorization import AuthorizationRequest
from portero.client.protocol.direct import challenge_request, process_challenge_response
from portero.client.session import Session
from portero.client.sign_in.browser import sign_in_with_browser
from portero.client.sign_in.redeeming import exchange_code
from portero.core.errors import Unavailable
from portero.core.jose.base64url import encode
from portero.core.types import Secret


def sign_in_with_password(
    session: Session,
    *,
    username: str,
    password: Secret[str] | str,
    otherwise: Callable[..., object] | None = sign_in_with_browser,
    acr_values: str | None = None,
    max_age: int | None = None,
    ui_locales: str | None = None,
) -> None:
    """Sign a person in without a browser. Blocks for two requests; tokens from before are revoked.

    Args:
        password: is sent once and kept nowhere.
        otherwise: what to do where the server asks for its sign-in page, or knows no other way; it gets the session
            and `login_hint`, `acr_values` and `max_age`. None: nothing.
        acr_values: as OpenID Connect Core §3.1.2.1.
        max_age: seconds since the last sign-in that are still good enough. These two answer a `StepUpRequired`.
        ui_locales: languages in which `CredentialsRefused.problems` should be.

    Raises:
        CredentialsRefused: the person has to be asked again, at once or later.
        RedirectRequired: only the sign-in page leads on, and `otherwise` is None.
        AuthorizationRefused, CodeRefused, IdTokenInvalid: the sign-in led nowhere.
        DiscoveryFailed, TokenEndpointUnavailable: the server does not answer.
        StoreUnavailable: the tokens cannot be kept.
    """
    secret = Secret(password) if isinstance(password, str) else password
    try:
        _sign_in(session, username, secret, acr_values=acr_values, max_age=max_age, ui_locales=ui_locales)
    except RedirectRequired:
        if otherwise is None:
            raise
        otherwise(session, login_hint=username, acr_values=acr_values, max_age=max_age)


def _sign_in(
    session: Session,
    username: str,
    password: Secret[str],
    *,
    acr_values: str | None,
    max_age: int | None,
    ui_locales: str | None,
) -> None:
    core, config = session.core, session.config
    key = core.new_key()
    request = AuthorizationRequest(
        client_id=config.client_id,
        redirect_uri=None,
        state=None,
        code_verifier=Secret(encode(core.random.bytes(32))),
        scope=config.scope,
        nonce=encode(core.random.bytes(16)) if "openid" in (config.scope or "").split() else None,
        resources=config.resources,
        acr_values=acr_values,
        max_age=max_age,
    )
    with session.signing_in("password") as era:
        try:
            url = core.metadata().authorization_challenge_endpoint
            if url is None:
                raise RedirectRequired("this server has no sign-in without a redirect")
            core.step("challenge.sent", "password", url)
            asked = challenge_request(
                url, core.who, request, username=username, password=password, ui_locales=ui_locales
            )
            answer = core.fetch_with_proof(asked, key)
        except Unavailable as error:
            raise TokenEndpointUnavailable(str(error)) from None
        exchange_code(
            session,
            process_challenge_response(answer, now=core.clock.now()),
            era=era,
            code_verifier=request.code_verifier,
            redirect_uri=None,
            nonce=request.nonce,
            key=key,
        )
