"""`/api/operator`: what an operator's program sees and changes, and who is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portero.core.transitions import AuditKey, ClientKey
from portero.core.types import ClientId
from tests.authorization_server.api.conftest import ACCOUNT_PAGE, BRUNO, CONSOLE, Api, sid_of
from tests.authorization_server.back_channel import AUDIENCE, SECRET


def got(api: Api, path: str, token: str | None = None) -> Any:
    seen = api.ask("GET", f"/api/operator{path}", token=token or api.operator())
    assert seen.status == 200, seen.body
    return seen.json


@pytest.mark.parametrize("path", ["/users", "/users/ana", "/sessions", "/clients", "/clients/page", "/keys", "/audit"])
def test_everything_is_for_operators_only(api: Api, path: str) -> None:
    """A person's token, whatever else it may do, is refused; so is none."""
    assert api.ask("GET", f"/api/operator{path}").status == 401
    assert api.ask("GET", f"/api/operator{path}", token=api.signed_in()).status == 403
    assert api.ask("GET", f"/api/operator{path}", token=api.operator()).status == 200


def test_a_person_does_not_become_an_operator_by_agreeing(api: Api) -> None:
    """The scope in a token that a person granted makes no operator of them."""
    greedy = replace(ACCOUNT_PAGE, client_id=ClientId("greedy"), scope=("openid", "operator"))
    api.server.put(ClientKey(greedy.client_id), greedy)
    seen = api.ask("GET", "/api/operator/users", token=api.signed_in(greedy))

    assert seen.status == 403
    assert "client_credentials" in seen.json["detail"]


def test_users_are_listed_page_by_page(api: Api) -> None:
    """By username; `next` names where the following page begins, and is null at the end."""
    first = got(api, "/users?limit=1")
    second = got(api, f"/users?limit=1&after={first['next']}")
    last = got(api, f"/users?limit=1&after={second['next']}")

    assert [user["username"] for page in (first, second, last) for user in page["users"]] == ["Ana", "bruno"]
    assert last["next"] is None
    assert got(api, "/users")["next"] is None


def test_no_secret_leaves_through_the_api(api: Api) -> None:
    """Neither a password hash, nor a secret's digest, nor a key's private part."""
    text = b"".join(
        api.ask("GET", f"/api/operator{path}", token=api.operator()).body for path in ("/users", "/clients", "/keys")
    )

    for word in (b"password", b"secret_digest", b"sealed", b"jwks", SECRET.encode()):
        assert word not in text
    assert b"client_secret_basic" in text


def test_sessions_are_listed_for_everybody_or_for_one(api: Api) -> None:
    """The newest use first."""
    ana = api.signed_in()
    api.server.clock.advance(5)
    bruno = api.signed_in(subject=BRUNO.subject)

    assert [each["sid"] for each in got(api, "/sessions")["sessions"]] == [sid_of(bruno), sid_of(ana)]
    assert [each["sid"] for each in got(api, "/sessions?subject=ana")["sessions"]] == [sid_of(ana)]


def test_an_operator_ends_a_session_and_the_trail_says_who(api: Api) -> None:
    """The token stops working; the reason and the program's name are in the audit row."""
    token = api.signed_in()
    seen = api.ask("DELETE", f"/api/operator/sessions/{sid_of(token)}", token=api.operator())
    newest = got(api, "/audit?subject=ana")["events"][0]

    assert seen.status == 204
    assert not api.works(token)
    assert (newest["name"], newest["fields"]) == ("session_ended", {"reason": "operator", "by": "console"})
    assert got(api, f"/sessions/{sid_of(token)}")["end_reason"] == "operator"


def test_an_operator_ends_everything_of_one_person(api: Api) -> None:
    """And of nobody else."""
    tokens = [api.signed_in(), api.signed_in(), api.signed_in(subject=BRUNO.subject)]
    seen = api.ask("POST", "/api/operator/users/ana/end-sessions", token=api.operator())

    assert seen.json == {"ended": 2}
    assert [api.works(token) for token in tokens] == [False, False, True]


def test_a_disabled_user_is_signed_out_and_enabled_again_is_not_signed_in(api: Api) -> None:
    """Disabling ends everything; enabling brings nothing back. Doing it twice writes once."""
    token, operator = api.signed_in(), api.operator()
    off = api.ask("PATCH", "/api/operator/users/ana", token=operator, json={"enabled": False})
    rows = len(api.server.run(api.server.store.read(AuditKey())))
    again = api.ask("PATCH", "/api/operator/users/ana", token=operator, json={"enabled": False})
    on = api.ask("PATCH", "/api/operator/users/ana", token=operator, json={"enabled": True})
    api.ask("PATCH", "/api/operator/users/ana", token=operator, json={"enabled": True})

    assert [seen.json["enabled"] for seen in (off, again, on)] == [False, False, True]
    assert not api.works(token)
    assert len(api.server.run(api.server.store.read(AuditKey()))) == rows + 1


def test_a_disabled_client_gets_nothing_and_its_tokens_are_taken_back(api: Api) -> None:
    """By its name in the feed (design §3.3)."""
    token, operator = api.signed_in(), api.operator()
    seen = api.ask("PATCH", "/api/operator/clients/page", token=operator, json={"enabled": False})
    api.server.clock.advance(2)

    assert (seen.status, seen.json["enabled"]) == (200, False)
    assert not api.works(token)


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("GET", "/users/nobody", None),
        ("PATCH", "/users/nobody", {"enabled": False}),
        ("POST", "/users/nobody/end-sessions", None),
        ("GET", "/sessions/none", None),
        ("PATCH", "/sessions/none", {"name": "x"}),
        ("DELETE", "/sessions/none", None),
        ("GET", "/clients/none", None),
        ("PATCH", "/clients/none", {"enabled": False}),
        ("GET", "/sessions/%00", None),
        ("GET", "/users/%ED%A0%80", None),
    ],
)
def test_what_does_not_exist_is_404(api: Api, method: str, path: str, json: object) -> None:
    """Also under a name no database could hold."""
    seen = api.ask(method, f"/api/operator{path}", token=api.operator(), json=json)

    assert (seen.status, seen.header("content-type")) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=99999999999999999999", f"after={'x' * 513}"]
)
def test_a_parameter_that_may_not_be_is_422(api: Api, query: str) -> None:
    """Both sides of each limit."""
    assert api.ask("GET", f"/api/operator/users?{query}", token=api.operator()).status == 422
    assert api.ask("GET", "/api/operator/users?limit=1000", token=api.operator()).status == 200


def test_the_operators_token_is_for_this_server(api: Api) -> None:
    """A token of the same program for another audience opens nothing."""
    elsewhere = replace(CONSOLE, client_id=ClientId("elsewhere"), audiences=(AUDIENCE,))
    api.server.put(ClientKey(elsewhere.client_id), elsewhere)

    assert api.ask("GET", "/api/operator/users", token=api.operator(elsewhere)).status == 401
    assert api.ask("GET", "/api/operator/users", token=api.operator(CONSOLE)).status == 200


def test_keys_are_rotated_and_the_trail_says_who(api: Api) -> None:
    """A new key is published beside the one that signs; tokens of before go on working."""
    token = api.operator()
    before = got(api, "/keys", token)["keys"]
    seen = api.ask("POST", "/api/operator/keys/rotate", token=token)
    (event,) = api.server.run(api.server.store.read(AuditKey(limit=1)))

    assert (len(before), len(seen.json["keys"])) == (1, 2)
    assert sorted(key["status"] for key in seen.json["keys"]) == ["published", "signing"]
    assert (event.name.value, event.fields["by"]) == ("key_rotated", CONSOLE.client_id)
    assert got(api, "/keys", token) == seen.json
