"""Requirement × principal → verdict: each member alone is a reason to refuse, and meeting it is enough."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.policy.principal import Principal, claim_at
from portero.core.policy.requirement import (
    ALLOWED,
    NotPermitted,
    ProofMissing,
    Requirement,
    ScopesMissing,
    SignInNotEnough,
    WhenStale,
    judge,
)
from portero.core.types import ClientId, Issuer, Jti, NumericDate, Subject

NOW = 1_800_000_000


def principal(**changes: Any) -> Principal:
    return Principal(
        **{
            "issuer": Issuer("https://issuer.test"),
            "subject": Subject("alice"),
            "client_id": ClientId("shop"),
            "scopes": frozenset({"orders:read"}),
            "roles": frozenset({"clerk"}),
            "jti": Jti("t"),
            "sid": None,
            "audience": ("a",),
            "issued_at": NumericDate(NOW),
            "expires_at": NumericDate(NOW + 300),
            "auth_time": NumericDate(NOW - 600),
            "acr": "pwd",
            "amr": ("pwd",),
            "kid": None,
            "cnf_jkt": None,
            **changes,
        }
    )


def verdict(requirement: Requirement, caller: Principal | None = None, *, leeway: int = 0) -> object:
    return judge(requirement, caller or principal(), now=NOW, leeway=leeway)


CLAIMS = {"tenant": "t1", "groups": ["a", "b"], "n": 1, "flag": True, "realm_access": {"roles": ["x"]}}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (Requirement(), ALLOWED),
        (Requirement(scopes=frozenset({"orders:read"})), ALLOWED),
        (Requirement(scopes=frozenset({"orders"})), ScopesMissing(("orders",))),
        (Requirement(scopes=frozenset({"orders:read", "b", "a"})), ScopesMissing(("a", "b", "orders:read"))),
        (Requirement(scopes_any=frozenset({"x", "orders:read"})), ALLOWED),
        (Requirement(scopes_any=frozenset({"x", "y"})), ScopesMissing(("x", "y"))),
        (Requirement(roles=frozenset({"clerk"})), ALLOWED),
        (Requirement(roles=frozenset({"clerk", "manager"})), NotPermitted("a role is missing")),
        (Requirement(roles_any=frozenset({"clerk", "manager"})), ALLOWED),
        (Requirement(roles_any=frozenset({"manager"})), NotPermitted("a role is missing")),
        (Requirement(acr=("mfa", "pwd")), ALLOWED),
        (Requirement(acr=("mfa",)), SignInNotEnough(None, ("mfa",))),
        (Requirement(max_auth_age=600), ALLOWED),
        (Requirement(max_auth_age=599), SignInNotEnough(599, ())),
        (Requirement(dpop=True), ProofMissing()),
        (Requirement(when_stale=WhenStale.DENY), ALLOWED),
    ],
)
def test_each_member_is_required(requirement: Requirement, expected: object) -> None:
    """Both sides of each."""
    assert expected == verdict(requirement)


@pytest.mark.parametrize(
    ("path", "expected", "allowed"),
    [
        ("tenant", "t1", True),
        ("tenant", "t2", False),
        ("tenant", "t", False),
        ("groups", "a", True),
        ("groups", "c", False),
        ("n", 1, True),
        ("n", True, False),
        ("flag", True, True),
        ("flag", 1, False),
        ("realm_access.roles", "x", True),
        ("realm_access.roles.0", "x", False),
        ("missing", "x", False),
    ],
)
def test_a_claim_equals_or_contains_the_value_of_its_own_type(path: str, expected: Any, allowed: bool) -> None:
    """In Python True == 1; in JSON they are different values."""
    assert allowed == (verdict(Requirement(claims={path: expected}), principal(claims=CLAIMS)) is ALLOWED)


def test_a_token_that_does_not_say_when_the_sign_in_was_cannot_be_recent() -> None:
    """Absent never means unchecked."""
    outcome = verdict(Requirement(max_auth_age=10**9), principal(auth_time=None))

    assert outcome == SignInNotEnough(10**9, ())


def test_the_leeway_counts_for_the_sign_ins_age_too() -> None:
    """One clock leeway for everything that verifies."""
    assert verdict(Requirement(max_auth_age=599), leeway=1) is ALLOWED


@pytest.mark.attack(row=45)
@pytest.mark.parametrize("granted", ["admins", "adm", "admin:read", "ADMIN", "xadmin"])
def test_a_scope_is_never_found_inside_another(granted: str) -> None:
    """Set semantics."""
    assert verdict(Requirement(scopes=frozenset({"admin"})), principal(scopes=frozenset({granted}))) is not ALLOWED


def test_a_proven_key_meets_dpop() -> None:
    """Whoever proved it, here or at the gateway."""
    assert verdict(Requirement(dpop=True), principal(sender_constraint_proven=True)) is ALLOWED


names = st.frozensets(st.sampled_from("abcd"), max_size=4)


@given(names, names, names, names)
def test_more_granted_is_never_less_allowed(
    wanted: frozenset[str], any_of: frozenset[str], has: frozenset[str], more: frozenset[str]
) -> None:
    """Monotone: an additional scope or role never closes a door."""
    requirement = Requirement(scopes=wanted, scopes_any=any_of, roles=wanted, roles_any=any_of)
    if verdict(requirement, principal(scopes=has, roles=has)) is ALLOWED:
        assert verdict(requirement, principal(scopes=has | more, roles=has | more)) is ALLOWED


@given(names, names)
def test_the_short_way_for_plain_requirements_agrees_with_the_long_way(
    wanted: frozenset[str], has: frozenset[str]
) -> None:
    """`is_plain` is an optimization, never a meaning."""
    plain, long = Requirement(scopes=wanted), Requirement(scopes=wanted, when_stale=WhenStale.DENY)
    caller = principal(scopes=has)

    assert plain.is_plain
    assert not long.is_plain
    assert verdict(plain, caller) == verdict(long, caller)


def test_a_claim_name_with_dots_is_not_taken_for_a_path() -> None:
    """Auth0's namespaced claims are URLs."""
    claims = {"https://shop.test/roles": ["a"], "https://shop": {"test/roles": ["b"]}}

    assert claim_at(claims, "https://shop.test/roles") == ["a"]


def test_a_principal_does_not_print_its_claims() -> None:
    """Names and addresses stand there."""
    assert "alice@shop.test" not in repr(principal(claims={"email": "alice@shop.test"}))
