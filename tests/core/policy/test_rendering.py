"""The table of refusals, on each wire (design §3.5)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.errors import Unavailable
from portero.core.policy.refusal import NO_TOKEN, TABLE, Case, GrpcStatus, Refusal, unavailable
from portero.core.policy.rendering import Challenger, challenges, close_reason, grpc_refusal, http_refusal

METADATA = "https://service.test/.well-known/oauth-protected-resource"
BEARER = Challenger(resource_metadata=METADATA)
WITH_DPOP = Challenger(resource_metadata=METADATA, dpop_algorithms=("ES256", "Ed25519"))
SAID = f'resource_metadata="{METADATA}"'


def refusal(case: Case, **details: object) -> Refusal:
    return Refusal(case, "Said.", **details)  # type: ignore[arg-type] # the fields of Refusal


@pytest.mark.parametrize(
    ("one", "status", "challenge", "grpc", "close"),
    [
        (NO_TOKEN, 401, f"Bearer {SAID}", GrpcStatus.UNAUTHENTICATED, 4401),
        (
            refusal(Case.INVALID_TOKEN),
            401,
            f'Bearer error="invalid_token", error_description="Said.", {SAID}',
            GrpcStatus.UNAUTHENTICATED,
            4401,
        ),
        (
            refusal(Case.TWO_TOKENS),
            400,
            f'Bearer error="invalid_request", error_description="Said.", {SAID}',
            GrpcStatus.INVALID_ARGUMENT,
            4400,
        ),
        (
            refusal(Case.INSUFFICIENT_SCOPE, scopes=("a", "b")),
            403,
            f'Bearer error="insufficient_scope", error_description="Said.", scope="a b", {SAID}',
            GrpcStatus.PERMISSION_DENIED,
            4403,
        ),
        (
            refusal(Case.NOT_PERMITTED),
            403,
            f'Bearer error="insufficient_scope", error_description="Said.", {SAID}',
            GrpcStatus.PERMISSION_DENIED,
            4403,
        ),
        (
            refusal(Case.SIGN_IN_NOT_ENOUGH, max_age=600, acr_values=("mfa",)),
            401,
            'Bearer error="insufficient_user_authentication", error_description="Said.", '
            f'acr_values="mfa", max_age="600", {SAID}',
            GrpcStatus.UNAUTHENTICATED,
            4401,
        ),
        (
            refusal(Case.INVALID_PROOF),
            401,
            f'DPoP error="invalid_dpop_proof", error_description="Said.", {SAID}',
            GrpcStatus.UNAUTHENTICATED,
            4401,
        ),
    ],
)
def test_each_case_on_each_wire(one: Refusal, status: int, challenge: str, grpc: GrpcStatus, close: int) -> None:
    """HTTP status and challenge, gRPC status, WebSocket close."""
    written = http_refusal(one, challenger=BEARER)

    assert written.status == status
    assert challenges(one, challenger=BEARER) == (challenge,)
    assert ("www-authenticate", challenge) in written.headers
    assert grpc_refusal(one, challenger=BEARER).status is grpc
    assert one.row.close_code == close
    assert 0 < len(close_reason(one).encode()) <= 123


def test_our_own_failure_challenges_nobody_and_says_when_to_come_back() -> None:
    """503 + Retry-After; what is missing stays in the log."""
    one = unavailable(Unavailable("the feed of https://inside.test is stale", retry_after=0))
    written = http_refusal(one, challenger=WITH_DPOP)

    assert written.status == 503
    assert dict(written.headers)["retry-after"] == "1"
    assert "www-authenticate" not in dict(written.headers)
    assert b"inside.test" not in written.body
    assert grpc_refusal(one, challenger=BEARER).status is GrpcStatus.UNAVAILABLE
    assert one.row.close_code == 1013


def test_where_dpop_is_accepted_both_schemes_are_offered() -> None:
    """RFC 9449 §7.1: with the algorithms."""
    assert challenges(NO_TOKEN, challenger=WITH_DPOP) == (
        f"Bearer {SAID}",
        f'DPoP {SAID}, algs="ES256 Ed25519"',
    )


def test_a_wanted_nonce_is_sent() -> None:
    """RFC 9449 §9."""
    written = http_refusal(refusal(Case.NONCE_WANTED, nonce="n-1"), challenger=WITH_DPOP)

    assert ("dpop-nonce", "n-1") in written.headers


@pytest.mark.parametrize("case", Case)
def test_every_case_has_a_row_and_a_problem_document(case: Case) -> None:
    """The table is complete; the body is RFC 9457 and as long as it says."""
    written = http_refusal(refusal(case), challenger=BEARER)
    problem = json.loads(written.body)

    assert case in TABLE
    assert (problem["type"], problem["status"], problem["detail"]) == ("about:blank", written.status, "Said.")
    assert dict(written.headers)["content-length"] == str(len(written.body))
    assert 400 <= written.status < 600


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_text_can_leave_its_quotes_or_split_a_header(description: str, scope: str) -> None:
    """RFC 6750 §3: what a description holds can never become another parameter or another header."""
    one = Refusal(Case.INSUFFICIENT_SCOPE, description, scopes=(scope,))

    (challenge,) = challenges(one, challenger=Challenger())

    assert challenge.count('"') == 6
    assert challenge.isascii()
    assert challenge.isprintable()
