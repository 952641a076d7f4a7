"""What a gateway takes off a request (design §3.6), in every disguise."""

from __future__ import annotations

import pytest

from portero.core.policy.identity_headers import HeaderRefused, forwardable, is_stripped


@pytest.mark.attack(row=69)
@pytest.mark.attack(row=73)
@pytest.mark.parametrize(
    "name",
    ["X-User-Id", "x-user-id", "X-USER-ID", "Authorization", "DPoP", "X-Portero-Sub", "X-Auth-Request-Email",
     "X-Consumer-Username", "Remote-User", "X-Forwarded-User", "X-Envoy-Original-Path", "X-JWT-Payload"],
)  # fmt: skip
def test_a_name_a_service_might_believe_is_taken_off(name: str) -> None:
    """However it is written."""
    assert forwardable([(name.encode(), b"admin"), (b"Accept", b"*/*")]) == [(b"Accept", b"*/*")]


@pytest.mark.attack(row=71)
def test_every_copy_is_taken_off() -> None:
    """Readers that take the first and readers that take the last see none."""
    assert forwardable([(b"X-User-Id", b"a"), (b"Accept", b"*/*"), (b"x-user-id", b"b")]) == [(b"Accept", b"*/*")]


@pytest.mark.attack(row=72)
@pytest.mark.parametrize("name", [b"X_User_Id", b"x_user-id", b"X-Trace_Id"])
def test_a_name_with_an_underscore_is_refused(name: bytes) -> None:
    """Many servers read it as the same variable; refused rather than dropped, so that nobody wonders."""
    with pytest.raises(HeaderRefused):
        forwardable([(name, b"admin")])
    assert is_stripped(b"X_User_Id")


@pytest.mark.attack(row=74)
@pytest.mark.parametrize("connection", [b"X-Request-Id", b"close, x-request-id", b"keep-alive,X-REQUEST-ID"])
def test_what_connection_names_goes_before_anything_is_set(connection: bytes) -> None:
    """So it cannot take off what the gateway sets afterwards."""
    kept = forwardable([(b"Connection", connection), (b"X-Request-Id", b"mine"), (b"Accept", b"*/*")])

    assert kept == [(b"Accept", b"*/*")]


@pytest.mark.parametrize(
    "name", [b"Accept", b"Content-Type", b"Cookie", b"Origin", b"X-Requested-With", b"Traceparent"]
)
def test_what_says_nothing_about_the_caller_stays(name: bytes) -> None:
    """The other side of the rule."""
    assert forwardable([(name, b"v")]) == [(name, b"v")]
