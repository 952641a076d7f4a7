"""A device polls the token endpoint (RFC 8628 §3.4, §3.5): not yet, not so fast, no, too late, or the code is there."""

from __future__ import annotations

from portero.authorization_server.context import Context
from portero.authorization_server.limits import Levels
from portero.core.errors import RequestError
from portero.core.limits import Rate
from portero.core.oauth.device import INTERVAL, DeviceCode, DeviceRequest, belongs_to, parse_device_code, read_waiting
from portero.core.oauth.errors import invalid_grant
from portero.core.transitions import Client, CodeKey, LoginKey
from portero.core.types import NumericDate, Secret

_RATE = Rate(2, 2.0 * INTERVAL)
"""One poll an interval, and one more for a network that delivers two together."""


class DevicePolls:
    """Answers polls that find no agreement. For one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._polls = Levels(_RATE)

    async def agreed(self, device_code: Secret[str], client: Client, *, now: NumericDate) -> CodeKey:
        """Return where the code is that a person agreed to.

        Raises:
            RequestError: `authorization_pending`, `slow_down`, `access_denied`, `expired_token`, `invalid_grant`.
        """
        code = parse_device_code(device_code)
        if code is None:
            raise invalid_grant("the device code is not valid", detail="not one of ours")
        at = self._context.clock.monotonic()
        if self._polls.wait(code.digest, at=at) > 0:
            raise RequestError("slow_down", f"poll every {INTERVAL} seconds, and now 5 seconds more slowly")
        self._polls.spend(code.digest, at=at)
        for _ in range(2):
            # Twice: between the two looks the person may agree, which moves it from the one place to the other.
            if (await self._context.store.read(CodeKey(code.digest))).code is not None:
                return CodeKey(code.digest)
            waiting = read_waiting(await self._context.store.read(LoginKey(code.waits_at)), now=now)
            if waiting is not None:
                raise _not_yet(waiting, code, client)
        if code.unverified_expires <= now:
            raise RequestError("expired_token", "the device code has expired")
        raise invalid_grant("the device code is not valid", detail="nothing waits for it")


def _not_yet(waiting: DeviceRequest, code: DeviceCode, client: Client) -> RequestError:
    if not belongs_to(waiting, code, client_id=client.client_id):
        return invalid_grant("the device code is not valid", detail="another device, or another client")
    if waiting.denied:
        return RequestError("access_denied", "the person did not agree")
    return RequestError("authorization_pending", "the person has not agreed yet")
