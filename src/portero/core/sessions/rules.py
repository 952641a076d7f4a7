"""The numbers a session obeys, and the random material one decision may use.

Built by the server: `RefreshRules` once from its configuration, `FreshMaterial` per request.
All durations are whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from portero.core.errors import ConfigurationError
from portero.core.quick import quick
from portero.core.sessions.records import FAMILIES_PER_SESSION, Profile
from portero.core.sessions.ring import RING_SIZE
from portero.core.transitions import Client, ClientType, RefreshProfile, RotationPolicy
from portero.core.types import FamilyId, Issuer, NumericDate, Secret

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class RefreshRules:
    """What the table of `core.sessions.refresh_table` is applied with. Every field says what it trades."""

    iss: Issuer
    """Named by the revocations that an end causes."""
    leeway: int = 60
    """Clock leeway of the fleet's verifiers: a revocation is kept that much longer."""
    access_token_lifetime: int = 300
    access_token_jitter: float = 0.1
    """Share of the lifetime taken off at random, so that a crowd does not come back at once."""
    refresh_token_lifetime: int = 14 * _DAY
    """Of one generation; never past the session's absolute end."""
    session_lifetime: int = 30 * _DAY
    idle_lifetime: int = 7 * _DAY
    rotation: RotationPolicy = RotationPolicy.ALWAYS
    """The client's; obeyed only by bound families. All others always rotate."""
    rotate_at_percent: int = 70
    """`NEAR_END`: the share of its life after which a refresh token is replaced."""
    refresh_after_percent: int = 80
    """The share of the access token's life after which a proactive refresh is welcome."""
    attempt_soft_window: int = 10
    """Profile B: seconds from first use in which a request that proves nothing may still be an honest race.

    Longer forgives slower tabs, and hides a thief who won a race for as long."""
    plain_soft_window: int = 30
    """Profile C: the same, and the time in which a retry is answered. FAPI 2.0's suite retries after 30 s."""
    plain_retries: int = 2
    """Profile C: how often the same successor is handed out again."""
    plain_sharing_run: int = 3
    """Profile C: that many generations in a row with retries count as two holders of one token."""
    ring_size: int = RING_SIZE
    """Spent generations kept beyond the parent, to tell a late honest request from a thief."""
    families_per_session: int = FAMILIES_PER_SESSION
    restored_at: NumericDate | None = None
    """Declared by the operator: the database was restored or failed over at this time and may lack the newest
    generations. Families older than that then accept a generation ahead of theirs, if bound."""

    def for_rotation(self, rotation: RotationPolicy) -> RefreshRules:
        """Return these rules with a client's rotation policy."""
        return self if rotation is self.rotation else _with_rotation(self, rotation)

    def soft_window(self, profile: Profile) -> int:
        """Seconds from first use in which an unproven use of a spent token is not yet called theft."""
        return self.plain_soft_window if profile is Profile.PLAIN else self.attempt_soft_window


@lru_cache(maxsize=16)
def _with_rotation(rules: RefreshRules, rotation: RotationPolicy) -> RefreshRules:
    # Remembered: a server has one set of rules, and asks with every refresh.
    return replace(rules, rotation=rotation)


@quick
@dataclass(frozen=True, slots=True)
class FreshMaterial:
    """Randomness for one decision, drawn at the edge. A decision that runs again is given the same."""

    secret: Secret[bytes]
    """32 bytes: the secret of the token that may be made."""
    jti: bytes
    """16 bytes: the access token's `jti`."""
    nonce: bytes
    """12 bytes: the nonce of the successor's box."""
    jitter: float
    """Of [0, 1): how much of the access token's jitter is taken."""

    SIZE = 64

    @classmethod
    def of(cls, block: bytes) -> FreshMaterial:
        """Cut 64 random bytes into what a refresh may need."""
        if len(block) != cls.SIZE:
            raise ValueError("a refresh draws 64 random bytes")
        return cls(Secret(block[:32]), block[32:48], block[48:60], int.from_bytes(block[60:], "big") / 2**32)


@dataclass(frozen=True, slots=True)
class FreshStart:
    """Randomness for a decision that may also open a device session and start a family."""

    material: FreshMaterial
    sid: bytes
    """16 bytes."""
    family_id: FamilyId
    """16 bytes."""
    status_index: int | None = None
    """An index of the status list that no session ever had; None: sessions have none."""

    SIZE = FreshMaterial.SIZE + 32

    @classmethod
    def of(cls, block: bytes, *, status_index: int | None = None) -> FreshStart:
        """Cut 96 random bytes into what a code exchange may need."""
        if len(block) != cls.SIZE:
            raise ValueError("a code exchange draws 96 random bytes")
        return cls(FreshMaterial.of(block[:64]), block[64:80], FamilyId(block[80:]), status_index)


def profile_of(client: Client, *, cnf_jkt: str | None) -> Profile:
    """Return the profile a family of this client starts with: bound where a credential or key proves a retry."""
    if client.client_type is ClientType.CONFIDENTIAL or cnf_jkt is not None:
        return Profile.BOUND
    return Profile.PLAIN if client.refresh_profile is RefreshProfile.PLAIN else Profile.ATTEMPT


def check_client_policy(client: Client) -> None:
    """Refuse a registration whose sessions could not be kept safe. For start-up and registration.

    Raises:
        ConfigurationError: names the setting, its value and what it may be.
    """
    public = client.client_type is ClientType.PUBLIC
    where = f"clients.{client.client_id}"
    if public and client.rotation is RotationPolicy.NEAR_END and not client.dpop_bound_access_tokens:
        # Between two rotations the token is good many times, so a copy of it is never noticed (RFC 9700 §4.14.2).
        raise ConfigurationError(
            f"{where}.rotation",
            client.rotation.value,
            '"always" for a public client whose tokens are not bound to a key; "near_end" needs a confidential '
            "client or dpop_bound_access_tokens = true",
        )
    if public and not client.require_pkce:
        raise ConfigurationError(f"{where}.require_pkce", False, "true for a public client (RFC 9700 §2.1.1)")
    if public and "client_credentials" in client.grant_types:
        raise ConfigurationError(
            f"{where}.grant_types", client.grant_types, "without client_credentials for a public client (RFC 6749 §4.4)"
        )
    if client.direct_sign_in and not (client.first_party and "authorization_code" in client.grant_types):
        raise ConfigurationError(
            f"{where}.direct_sign_in",
            True,
            "false for a client that is not first_party or has no authorization_code: people type their passwords "
            "into applications of the house only",
        )
    if public is not (client.token_endpoint_auth_method == "none"):
        raise ConfigurationError(
            f"{where}.token_endpoint_auth_method",
            client.token_endpoint_auth_method,
            '"none" for a public client, and only for one',
        )
