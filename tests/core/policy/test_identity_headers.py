"""What a gateway takes off a request (design §3.6), in every disguise."""

from __future__ import annotations

import pytest

from portero.core.policy.identity_headers import is_stripped


@pytest.mark.attack(row=73)
@pytest.mark.parametrize(
    "name",
    ["X-User-Id", "x-user-id", "X-USER-ID", "Authorization", "DPoP", "X-Portero-Sub", "X-Auth-Request-Email",
     "X-Consumer-Username", "Remote-User", "X-Forwarded-User", "X-Envoy-Original-Path", "X-JWT-Payload"],
)  # fmt: skip
def test_a_name_a_service_might_believe_is_taken_off(name: str) -> None:
    """However it is written: many servers read `_` as `-`."""
    assert is_stripped(name.encode())
    assert is_stripped(name.replace("-", "_").encode())


@pytest.mark.parametrize(
    "name", [b"Accept", b"Content-Type", b"Cookie", b"Origin", b"X-Requested-With", b"Traceparent", b"X-Request-Id"]
)
def test_what_says_nothing_about_the_caller_stays(name: bytes) -> None:
    """The other side of the rule."""
    assert not is_stripped(name)
