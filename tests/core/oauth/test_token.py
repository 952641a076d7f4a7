"""The token endpoint's messages."""

from __future__ import annotations

import orjson
import pytest

from portero.core.errors import RequestError
from portero.core.oauth.errors import error_members, invalid_grant
from portero.core.oauth.forms import Parameters
from portero.core.oauth.token import (
    ClientCredentialsRequest,
    CodeExchangeRequest,
    RefreshRequest,
    TokenResponse,
    TokenType,
    parse_scope,
    parse_token_request,
    render_token_response,
)
from portero.core.types import Secret


def form(**values: str | tuple[str, ...]) -> Parameters:
    return Parameters({name: value if isinstance(value, tuple) else (value,) for name, value in values.items()})


def test_each_grant_has_its_own_request() -> None:
    """RFC 6749 §4.1.3, §6, §4.4.2."""
    code = parse_token_request(form(grant_type="authorization_code", code="c", code_verifier="v" * 43))
    refresh = parse_token_request(form(grant_type="refresh_token", refresh_token="r", refresh_attempt="A" * 22))
    client = parse_token_request(form(grant_type="client_credentials", scope="a b"))

    assert isinstance(code, CodeExchangeRequest)
    assert isinstance(refresh, RefreshRequest)
    assert isinstance(client, ClientCredentialsRequest)
    assert client.scope == ("a", "b")


@pytest.mark.parametrize("length", [42, 129])
def test_a_verifier_outside_its_length_is_refused(length: int) -> None:
    """RFC 7636 §4.1: 43 to 128 characters; the bounds themselves are good."""
    with pytest.raises(RequestError):
        parse_token_request(form(grant_type="authorization_code", code="c", code_verifier="v" * length))
    for good in (43, 128):
        parse_token_request(form(grant_type="authorization_code", code="c", code_verifier="v" * good))


@pytest.mark.attack(row=45)
@pytest.mark.parametrize("scope", ["a  b", " a", "a ", 'a"b', "a\\b", "ñ", "a\tb"])
def test_a_malformed_scope_is_invalid_scope(scope: str) -> None:
    """RFC 6749 §3.3."""
    with pytest.raises(RequestError) as refused:
        parse_scope(scope)

    assert refused.value.error == "invalid_scope"


@pytest.mark.parametrize("resource", ["relative", "/path", "https://a.example/#f", "https:", "https://a b"])
def test_a_malformed_resource_is_invalid_target(resource: str) -> None:
    """RFC 8707 §2: an absolute URI without a fragment."""
    with pytest.raises(RequestError) as refused:
        parse_token_request(form(grant_type="client_credentials", resource=(resource,)))

    assert refused.value.error == "invalid_target"


def test_an_answer_leaves_out_what_it_does_not_have() -> None:
    """No null members: a client may take one for a token."""
    response = TokenResponse(access_token=Secret("a"), token_type=TokenType.BEARER, expires_in=300, scope=("x", "y"))

    assert orjson.loads(render_token_response(response)) == {
        "access_token": "a",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "x y",
    }


def test_a_kept_refresh_token_is_not_sent_again_but_its_end_is() -> None:
    """Design §3.2: `refresh_token_expires_in` with every success, also where nothing rotated."""
    response = TokenResponse(
        access_token=Secret("a"), token_type=TokenType.BEARER, expires_in=300, scope=("x",), refresh_token_expires_in=99
    )
    members = orjson.loads(render_token_response(response))

    assert members["refresh_token_expires_in"] == 99
    assert "refresh_token" not in members


def test_a_refusal_s_text_stays_within_its_alphabet() -> None:
    """RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E."""
    members = error_members(invalid_grant('say "no"\\\n\té', reason="expired"))

    assert members == {
        "error": "invalid_grant",
        "error_description": "say ?no?????",
        "error_reason": "expired",
    }


def test_secrets_do_not_show_in_requests() -> None:
    """A request may end in a traceback."""
    request = parse_token_request(form(grant_type="refresh_token", refresh_token="geheim", refresh_attempt="B" * 22))

    assert "geheim" not in repr(request)
    assert "B" * 22 not in repr(request)
