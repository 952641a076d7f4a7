"""What a registration may say, which profile it gives, and how random material is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portero.core.errors import ConfigurationError
from portero.core.sessions.records import Profile
from portero.core.sessions.rules import FreshMaterial, FreshStart, check_client_policy, profile_of
from portero.core.transitions import Client, RefreshProfile, RotationPolicy
from tests.core.sessions.worlds import BACKEND, PAGE, PLAIN_PAGE, RULES


@pytest.mark.parametrize("client", [PAGE, PLAIN_PAGE, BACKEND, replace(BACKEND, require_pkce=False)])
def test_a_sound_registration_passes(client: Client) -> None:
    """Public clients rotate always; a confidential one may wait, and may do without PKCE."""
    check_client_policy(client)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"rotation": RotationPolicy.NEAR_END}, "clients.page.rotation"),
        ({"require_pkce": False}, "clients.page.require_pkce"),
        ({"grant_types": ("client_credentials",)}, "clients.page.grant_types"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "clients.page.token_endpoint_auth_method"),
    ],
)
def test_an_unsafe_public_registration_is_refused(changes: dict[str, Any], setting: str) -> None:
    """C.3: between rotations a token is good many times; a copy of an unbound one would never be noticed."""
    with pytest.raises(ConfigurationError) as caught:
        check_client_policy(replace(PAGE, **changes))

    assert caught.value.setting == setting


def test_a_public_client_that_always_brings_a_proof_may_rotate_near_the_end() -> None:
    """RFC 9449 §5.2: its tokens are bound, so a copy is worthless."""
    check_client_policy(replace(PAGE, rotation=RotationPolicy.NEAR_END, dpop_bound_access_tokens=True))


def test_a_confidential_client_authenticates() -> None:
    """`none` is for public clients only."""
    with pytest.raises(ConfigurationError, match="token_endpoint_auth_method"):
        check_client_policy(replace(BACKEND, token_endpoint_auth_method="none"))


@pytest.mark.parametrize(
    ("client", "cnf_jkt", "expected"),
    [
        (BACKEND, None, Profile.BOUND),
        (replace(BACKEND, refresh_profile=RefreshProfile.PLAIN), None, Profile.BOUND),
        (PAGE, "jkt", Profile.BOUND),
        (PAGE, None, Profile.ATTEMPT),
        (PLAIN_PAGE, None, Profile.PLAIN),
        (PLAIN_PAGE, "jkt", Profile.BOUND),
    ],
)
def test_the_profile_is_what_can_prove_a_retry(client: Client, cnf_jkt: str | None, expected: Profile) -> None:
    """A for a credential or key; otherwise what the registration says."""
    assert profile_of(client, cnf_jkt=cnf_jkt) is expected


def test_random_material_is_cut_without_overlap() -> None:
    """Each byte is used once, and the jitter is in [0, 1)."""
    start = FreshStart.of(bytes(range(96)))

    parts = start.material.secret.reveal() + start.material.jti + start.material.nonce
    assert parts == bytes(range(60))
    assert start.sid + start.family_id == bytes(range(64, 96))
    assert FreshMaterial.of(b"\xff" * 64).jitter < 1
    assert FreshMaterial.of(bytes(64)).jitter == 0


@pytest.mark.parametrize("size", [0, 63, 65])
def test_too_few_random_bytes_are_a_bug(size: int) -> None:
    """Never padded, never repeated."""
    with pytest.raises(ValueError, match="64"):
        FreshMaterial.of(bytes(size))


def test_rules_for_the_same_rotation_are_the_same() -> None:
    """The hot path copies nothing."""
    assert RULES.for_rotation(RotationPolicy.ALWAYS) is RULES
    assert RULES.for_rotation(RotationPolicy.NEAR_END).rotation is RotationPolicy.NEAR_END
