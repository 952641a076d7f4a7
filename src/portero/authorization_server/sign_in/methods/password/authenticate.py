"""Signing in with a name and a password: the same time and the same text whether or not the account exists."""

from __future__ import annotations

from dataclasses import dataclass

from portero.authorization_server.context import Context
from portero.authorization_server.sign_in.method import Proven
from portero.authorization_server.sign_in.throttle import SignInThrottle
from portero.core.oauth.authorization import PASSWORD_ACR
from portero.core.transitions import User, UsernameKey
from portero.core.types import NumericDate, Secret

AMR = ("pwd",)
"""RFC 8176 §2."""

MAX_USERNAME = 320
MAX_PASSWORD = 1024
"""Characters. Longer is refused like a wrong one, after the same work."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Too many attempts: nothing was looked at. Whole seconds."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """Name or password is wrong; which of them is not told to anybody."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The password is this person's."""

    user: User


PasswordOutcome = Wait | Wrong | SignedIn


async def authenticate_person(
    context: Context, throttle: SignInThrottle, *, username: str, password: Secret[str], address: str
) -> PasswordOutcome:
    """Check a name and a password.

    Args:
        address: what the limits count by, see `address.limiting_key`.

    Raises:
        Unavailable: the store is not there, or more hashing waits than the server allows.
    """
    name = username.strip().casefold()
    wait = throttle.begin(username=name, address=address, at=context.clock.monotonic())
    if wait:
        return Wait(wait)
    plausible = 0 < len(name) <= MAX_USERNAME and len(password.reveal()) <= MAX_PASSWORD
    user = (await context.store.read(UsernameKey(name))).user if plausible else None
    # An unknown name costs the same hash as a known one (`PasswordHasher.verify` with None).
    phc = None if user is None else user.password_hash
    candidate = password if plausible else Secret(password.reveal()[:MAX_PASSWORD])
    right = await context.passwords.verify(candidate, phc)
    if user is None or not right or not user.enabled:
        return Wrong()
    throttle.succeeded(username=name, address=address)
    return SignedIn(user)


def proven_by_password(user: User, *, now: NumericDate) -> Proven:
    """What a right password proves, now."""
    return Proven(user, auth_time=now, acr=PASSWORD_ACR, amr=AMR)
