"""The sign-out request: who asks, where to go afterwards, and whether the person must be asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from portero.core.errors import RequestError
from portero.core.oauth.authorization import MAX_CLIENT_ID, MAX_STATE
from portero.core.oauth.end_session import (
    EndSessionRequest,
    IdTokenHint,
    claimed_client,
    is_certain,
    parse_end_session_request,
    post_logout_location,
    read_hint,
)
from portero.core.oauth.forms import parse_query
from portero.core.sessions.records import DeviceSession
from portero.core.transitions import Client, ClientType, RefreshProfile, RotationPolicy
from portero.core.types import ClientId, NumericDate, Sid, Subject

AFTER = "https://app.example/bye"
CLIENT = Client(
    client_id=ClientId("spa"),
    client_name="The Page",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=("https://app.example/cb",),
    post_logout_redirect_uris=(AFTER, "https://app.example/out?x=1", "javascript:alert(1)"),
    grant_types=("authorization_code",),
    scope=("openid",),
    audiences=(),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
HINT = IdTokenHint(Subject("u-1"), ClientId("spa"), Sid("s-1"))


def parse(**parameters: str) -> EndSessionRequest:
    return parse_end_session_request(parse_query(urlencode(parameters).encode()))


def session(sid: str) -> DeviceSession:
    never = NumericDate(0)
    return DeviceSession(Sid(sid), None, Subject("u-1"), ClientId("spa"), "", "", never, never, never, never, never)


def test_nothing_is_required() -> None:
    """RP-Initiated Logout §2: every parameter is optional."""
    assert parse() == EndSessionRequest(None, None, None, None)


@pytest.mark.parametrize(("name", "limit"), [("client_id", MAX_CLIENT_ID), ("state", MAX_STATE)])
def test_each_parameter_has_a_length(name: str, limit: int) -> None:
    """Both sides of each limit."""
    parse(**{name: "x" * limit})

    with pytest.raises(RequestError):
        parse(**{name: "x" * (limit + 1)})


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/bye/",
        "https://app.example/bye?x",
        "https://app.example/cb",
        "https://evil.example/",
        "javascript:alert(1)",
        "//app.example/bye",
    ],
)
def test_only_a_registered_uri_is_gone_to(uri: str) -> None:
    """§3: exact match with `post_logout_redirect_uris`; a sign-in's redirect URI is another list; a script never."""
    with pytest.raises(RequestError) as caught:
        post_logout_location(parse(post_logout_redirect_uri=uri), client=CLIENT)

    assert caught.value.error == "invalid_request"


def test_without_a_client_there_is_no_registered_uri() -> None:
    """§3: an OP MUST NOT redirect where it cannot confirm the target."""
    with pytest.raises(RequestError):
        post_logout_location(parse(post_logout_redirect_uri=AFTER), client=None)


def test_the_state_goes_back() -> None:
    """§3: `state` is passed back, and only with a redirect."""
    assert post_logout_location(parse(post_logout_redirect_uri=AFTER), client=CLIENT) == AFTER
    assert post_logout_location(parse(post_logout_redirect_uri=AFTER, state="a&b"), client=CLIENT) == (
        AFTER + "?state=a%26b"
    )
    assert (
        post_logout_location(parse(post_logout_redirect_uri="https://app.example/out?x=1", state="s"), client=CLIENT)
        == "https://app.example/out?x=1&state=s"
    )
    assert post_logout_location(parse(state="s"), client=CLIENT) is None


def test_the_client_is_the_one_the_hint_was_issued_to() -> None:
    """§2: with both parameters the OP MUST verify that they agree."""
    assert claimed_client(parse(), hint=HINT) == "spa"
    assert claimed_client(parse(client_id="spa"), hint=HINT) == "spa"
    assert claimed_client(parse(client_id="spa"), hint=None) == "spa"
    with pytest.raises(RequestError):
        claimed_client(parse(client_id="other"), hint=HINT)


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"sub": "u-1", "aud": "spa", "sid": "s-1"}, True),
        ({"sub": "u-1", "aud": ["spa"], "sid": "s-1"}, True),
        ({"sub": "u-1", "aud": ["spa", "other"]}, False),
        ({"sub": "u-1"}, False),
        ({"aud": "spa"}, False),
        ({"sub": 7, "aud": "spa"}, False),
        ({"sub": "u-1", "aud": "spa", "sid": ["s-1"]}, False),
    ],
)
def test_a_hint_is_an_id_token(claims: dict[str, Any], good: bool) -> None:
    """A token of ours of another make is refused."""
    if good:
        assert read_hint(claims) == HINT
    else:
        with pytest.raises(RequestError):
            read_hint(claims)


@pytest.mark.parametrize(
    ("hint", "subject", "expected"),
    [
        (HINT, "u-1", True),
        (IdTokenHint(Subject("u-1"), ClientId("spa"), None), "u-1", True),
        (None, "u-1", False),
        (HINT, "u-2", False),
        (IdTokenHint(Subject("u-1"), ClientId("spa"), Sid("elsewhere")), "u-1", False),
    ],
)
def test_the_person_is_asked_unless_the_hint_names_this_sign_in(
    hint: IdTokenHint | None, subject: str, expected: bool
) -> None:
    """§2, §6: no hint, another person's, or another browser's, and a stranger may be asking."""
    assert expected == is_certain(hint, subject=Subject(subject), sessions=(session("s-1"), session("s-2")))
