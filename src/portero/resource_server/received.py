"""The access token of a request that was admitted, kept for calls in its caller's name."""

from __future__ import annotations

from dataclasses import dataclass

from portero.core.policy.principal import Principal
from portero.core.types import Secret


@dataclass(frozen=True, slots=True)
class ReceivedToken:
    """What `received_token(request)` of an adapter returns; `calling` takes it."""

    token: Secret[str]
    principal: Principal
