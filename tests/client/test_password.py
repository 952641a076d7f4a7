"""Signing in with a name and a password that the program asks for, against the real program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from portero.client import (
    AuthorizationRefused,
    Config,
    CredentialsRefused,
    RedirectRequired,
    Session,
    SignInRequired,
    State,
    TokenEndpointUnavailable,
    ask_userinfo,
    sign_in_with_browser,
    sign_in_with_password,
)
from tests.cli.running import Server, run
from tests.client.person import Person

OTHERS = """[sign_in.password]
[sign_in.openid.acme]
issuer = "https://acme.example"
client_id = "x"
label = "Acme"
acr_values = ["gold"]
"""
TYPED: dict[str, Any] = {"username": "ana", "password": "correct horse"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`portero serve` with Ana, an app that may ask for her password, and one that may not; others vouch, too."""
    folder = tmp_path_factory.mktemp("server")
    client = ("--public", "--first-party", "--redirect-uri", "http://127.0.0.1/callback", "--scope", "openid")
    with Server(folder, OTHERS) as running:
        for done in (
            run(folder, "user", "add", "ana", "--name", "Ana Ruiz", "--password-stdin", stdin="correct horse\n"),
            run(folder, "client", "add", "app", *client, "--scope", "profile", "--direct-sign-in"),
            run(folder, "client", "add", "other", *client, "--scope", "profile"),
        ):
            assert done.returncode == 0, done.stderr
        yield running


def session_at(server: Server, **changes: Any) -> Session:
    return Session(Config(**{"issuer": server.issuer, "client_id": "app", "scope": "openid profile", **changes}))


def sids(server: Server) -> set[str]:
    listed = run(server.folder, "sessions", "list", "--json")
    return {each["sid"] for each in json.loads(listed.stdout)}


@pytest.mark.parametrize("dpop", [False, True], ids=["bearer", "dpop"])
def test_a_person_is_signed_in_without_a_browser(server: Server, dpop: bool) -> None:
    """Two requests; the session refreshes and signs out like any other, bound to its key where it has one."""
    with session_at(server, dpop=dpop) as session:
        sign_in_with_password(session, **TYPED)
        info = session.token_info()
        assert info is not None
        assert info.unverified_claims is not None
        assert ("cnf" in info.unverified_claims, session.state) == (dpop, State.SIGNED_IN)
        if not dpop:
            assert ask_userinfo(session)["name"] == "Ana Ruiz"
        session.refresh()
        session.sign_out()
        with pytest.raises(SignInRequired):
            session.access_token()


def test_what_is_wrong_is_told_in_the_persons_language(server: Server) -> None:
    """The texts are for the form; who was signed in before still is."""
    with session_at(server) as session:
        sign_in_with_password(session, **TYPED)
        with pytest.raises(CredentialsRefused) as refused:
            sign_in_with_password(session, username="ana", password="guess", ui_locales="es")

        assert refused.value.reason == "wrong"
        assert refused.value.problems == ("El usuario o la contraseña no son correctos.",)
        assert "guess" not in repr(refused.value)
        assert session.state is State.SIGNED_IN
        session.sign_out()


def test_signing_in_anew_ends_the_session_before(server: Server) -> None:
    """A step-up is another sign-in; this device stays one in the list."""
    with session_at(server) as session:
        for max_age in (None, 0):
            sign_in_with_password(session, **TYPED, max_age=max_age)
            found = sids(server)
        assert len(found) == 1
        session.sign_out()


def test_too_many_guesses_say_how_long_to_wait(server: Server) -> None:
    """A name of nobody's, so that the other tests go on."""
    with session_at(server) as session:
        for _ in range(5):
            with pytest.raises(CredentialsRefused, match="wrong"):
                sign_in_with_password(session, username="nobody", password="guess")
        with pytest.raises(CredentialsRefused, match="too_many_attempts") as refused:
            sign_in_with_password(session, username="nobody", password="guess")

        assert refused.value.retry_after == 1.0


def test_what_the_server_only_does_on_its_page_goes_there(server: Server) -> None:
    """`redirect_to_web`: the browser by default, with what was typed as a name; a program without one says None."""
    ana = Person()

    def open_url(url: str) -> None:
        assert "login_hint=ana" in url
        ana.open(url)
        ana.send(path="/sign-in", **TYPED)

    def in_the_browser(session: Session, **asked: Any) -> None:
        sign_in_with_browser(session, open_url=open_url, **asked)

    with session_at(server) as session:
        with pytest.raises(RedirectRequired):
            sign_in_with_password(session, **TYPED, acr_values="urn:portero:openid:acme:gold", otherwise=None)
        assert session.state is State.SIGNED_OUT
        sign_in_with_password(session, **TYPED, acr_values="urn:portero:openid:acme:gold", otherwise=in_the_browser)
        assert session.state is State.SIGNED_IN
        session.sign_out()
    ana.close()


def test_a_client_that_may_not_ask_is_told_so(server: Server) -> None:
    """By the registered word; nothing is tried in the browser instead."""
    with session_at(server, client_id="other") as session, pytest.raises(AuthorizationRefused) as refused:
        sign_in_with_password(session, **TYPED)

    assert refused.value.reason == "unauthorized_client"


def test_a_server_that_is_away_is_nobodys_wrong_password() -> None:
    """Nothing is known, so nothing is said of what was typed."""
    config = Config(issuer="http://127.0.0.1:9", client_id="app", scope="openid")
    with Session(config) as session, pytest.raises(TokenEndpointUnavailable):
        sign_in_with_password(session, **TYPED)
