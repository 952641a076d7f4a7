"""Sign in with the browser of this machine: code grant with a loopback redirect (RFC 8252, RFC 7636, RFC 9207)."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable

from portero.client.errors import DiscoveryFailed, SignInRequired, SignInTimeout
from portero.client.protocol.authorization import (
    AuthorizationRequest,
    authorization_url,
    process_authorization_response,
)
from portero.client.session import Session
from portero.client.sign_in.loopback import Loopback
from portero.client.sign_in.redeeming import exchange_code
from portero.core.errors import Unavailable
from portero.core.jose.base64url import encode
from portero.core.types import Secret

PATIENCE = 300.0
"""Seconds: longer than it takes to find a password."""


def sign_in_with_browser(
    session: Session,
    *,
    open_url: Callable[[str], object] = webbrowser.open,
    port: int = 0,
    timeout: float = PATIENCE,
    prompt: str | None = None,
    login_hint: str | None = None,
    acr_values: str | None = None,
    max_age: int | None = None,
) -> None:
    """Send the person to the sign-in page, and wait until they come back. Blocks.

    The server must know `http://127.0.0.1/callback` as a redirect URI of this client; the port may be any.

    Args:
        open_url: opens the page; by default in the system's browser. It may also print the address.
        port: 0 lets the system choose.
        timeout: seconds to wait for the person.
        prompt, login_hint, acr_values: as OpenID Connect Core §3.1.2.1.
        max_age: seconds since the last sign-in that are still good enough. These two answer a `StepUpRequired`.

    Raises:
        SignInTimeout: nobody came back in time.
        AuthorizationRefused, IssuerMismatch, CodeRefused, IdTokenInvalid: the sign-in led nowhere.
        DiscoveryFailed, TokenEndpointUnavailable: the server does not answer.
        StoreUnavailable: the tokens cannot be kept.
    """
    core, config = session.core, session.config
    key = core.new_key()
    code_verifier = Secret(encode(core.random.bytes(32)))
    state = encode(core.random.bytes(16))
    nonce = encode(core.random.bytes(16)) if "openid" in (config.scope or "").split() else None
    with session.signing_in("browser") as era, Loopback(state, port=port) as loopback:
        try:
            metadata = core.metadata()
        except Unavailable as error:
            raise DiscoveryFailed(str(error)) from None
        request = AuthorizationRequest(
            client_id=config.client_id,
            redirect_uri=loopback.redirect_uri,
            state=state,
            code_verifier=code_verifier,
            scope=config.scope,
            nonce=nonce,
            resources=config.resources,
            dpop_jkt=None if key is None else core.prover_of(key).thumbprint,
            prompt=prompt,
            login_hint=login_hint,
            acr_values=acr_values,
            max_age=max_age,
        )
        core.step("sign_in.navigate", "browser", metadata.authorization_endpoint)
        open_url(authorization_url(metadata, request))
        query = loopback.wait(timeout, over=era.over)
        if era.over.is_set():
            raise SignInRequired(era.reason)
        if query is None:
            raise SignInTimeout(f"nobody came back within {timeout:g} seconds")
        code = process_authorization_response(metadata, query)
        exchange_code(
            session,
            code,
            era=era,
            code_verifier=code_verifier,
            redirect_uri=loopback.redirect_uri,
            nonce=nonce,
            key=key,
        )
