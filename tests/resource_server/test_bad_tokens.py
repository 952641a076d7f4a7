"""The bad tokens of `portero.testing` are bad for the reason they are called by."""

from __future__ import annotations

import pytest

from portero.core.policy.refusal import Case
from portero.resource_server import Guard, Refusal
from portero.testing.bad_tokens import BAD_TOKENS
from portero.testing.issuer import InMemoryIssuer

FAULTS = {
    "expired": "expired",
    "from the future": "not_yet_valid",
    "not valid yet": "not_yet_valid",
    "of another issuer": "issuer",
    "of an issuer with a slash more": "issuer",
    "for another audience": "audience",
    "without an audience": "audience",
    "an ID token": "type",
    "a logout token": "type",
    "without a type": "type",
    "unsigned": "algorithm",
    "unsigned, in other letters": "algorithm",
    "signed with the public key as a secret": "algorithm",
    "signed by another key": "signature",
    "changed after it was signed": "signature",
    "signed by a key nobody published": "unknown_key",
    "with its own key in the header": "unknown_key",
    "bound to a key, without proof": "sender_constraint",
    "revoked": "revoked",
    **dict.fromkeys(
        [
            "without exp",
            "exp as text",
            "exp beyond all dates",
            "without a subject",
            "without a client",
            "without an identifier",
            "scopes as a list",
            "bound in a way nobody knows",
        ],
        "claims",
    ),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_each_is_refused_for_what_its_name_says(name: str, guard: Guard, issuer: InMemoryIssuer) -> None:
    """And a good one of the same issuer is not."""
    token = BAD_TOKENS[name](issuer)
    issuer.trust_in(guard)

    outcome = guard.admit(token.encode(), guard.requires(scopes=["orders:read"]))

    assert isinstance(outcome, Refusal)
    assert (outcome.case, outcome.fault) == (Case.INVALID_TOKEN, FAULTS.get(name, "malformed"))
    assert not isinstance(guard.admit(issuer.mint().encode(), guard.requires(scopes=["orders:read"])), Refusal)
