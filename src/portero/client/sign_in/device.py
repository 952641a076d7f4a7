"""Sign in with a code that the person types on another device (RFC 8628): for machines without a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portero.client.errors import (
    AuthorizationRefused,
    DiscoveryFailed,
    SignInRequired,
    SignInTimeout,
    TokenEndpointUnavailable,
)
from portero.client.protocol.device import (
    DeviceAuthorization,
    device_authorization_request,
    device_token_request,
    process_device_authorization_response,
)
from portero.client.protocol.token import NoAnswer, TokenOutcome
from portero.client.session import Session
from portero.client.sign_in.redeeming import redeem
from portero.core.errors import Unavailable

_SLOWER = 5.0
"""Seconds more between two questions after `slow_down`, and after no answer (§3.5)."""
_SLOWEST = 60.0


@dataclass(frozen=True, slots=True)
class DevicePrompt:
    """What to show: go to the address, and type the code. `complete` holds both, for a QR code. Seconds."""

    verification_uri: str
    user_code: str
    complete: str | None
    expires_in: float


def sign_in_on_device(
    session: Session,
    *,
    show: Callable[[DevicePrompt], object],
    pause: Callable[[float], object] | None = None,
) -> None:
    """Ask for a code, show it, and wait until the person has typed it elsewhere. Blocks.

    Args:
        show: tells the person.
        pause: waits for so many seconds; for tests.

    Raises:
        SignInTimeout: the code was not used in time.
        AuthorizationRefused: the person or the server said no.
        DiscoveryFailed, TokenEndpointUnavailable: the server does not answer, or knows no such flow.
        CodeRefused, IdTokenInvalid, StoreUnavailable: there is no session.
    """
    core = session.core
    key = core.new_key()
    with session.signing_in("device") as era:
        granted = _begin(session)
        show(
            DevicePrompt(
                granted.verification_uri, granted.user_code, granted.verification_uri_complete, granted.expires_in
            )
        )
        wait = pause or era.over.wait
        interval, end = granted.interval, core.clock.monotonic() + granted.expires_in
        while True:
            wait(interval)
            if era.over.is_set():
                raise SignInRequired(era.reason)
            if core.clock.monotonic() >= end:
                raise SignInTimeout("the code was not used in time")
            sent_at = core.clock.now()
            outcome = core.ask(
                "device.asked",
                lambda known: device_token_request(known.token_endpoint, core.who, device_code=granted.device_code),
                key=key,
            )
            slower = _slower(outcome)
            if slower is None:
                redeem(session, outcome, era=era, sent_at=sent_at, nonce=None, key=key)
                return
            interval = min(interval + slower, _SLOWEST)


def _begin(session: Session) -> DeviceAuthorization:
    core, config = session.core, session.config
    try:
        url = core.metadata().device_authorization_endpoint
        if url is None:
            raise DiscoveryFailed("this server has no device flow")
        core.step("device.begun", "device", url)
        request = device_authorization_request(url, core.who, scope=config.scope, resources=config.resources)
        return process_device_authorization_response(core.fetch(request))
    except Unavailable as error:
        raise TokenEndpointUnavailable(str(error)) from None


def _slower(outcome: TokenOutcome) -> float | None:
    """Say how much longer to wait from now on; None: this was the answer."""
    if not isinstance(outcome, NoAnswer):
        return None
    if outcome.reason != "client_refused":
        return outcome.retry_after or _SLOWER
    match outcome.error:
        case "authorization_pending":
            return 0.0
        case "slow_down":
            return _SLOWER
        case "expired_token":
            raise SignInTimeout("the code was not used in time")
        case "access_denied":
            raise AuthorizationRefused("access_denied")
    return None
