"""Signing in with a browser of this machine, and the command line, against the real program (behaviours 1 to 5, 9)."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from portero.cli import program
from portero.client import (
    AuthorizationRefused,
    Config,
    DiscoveryFailed,
    IssuerMismatch,
    Session,
    SignInTimeout,
    State,
    ask_userinfo,
    sign_in_with_browser,
)
from portero.client.sign_in.loopback import Loopback
from tests.cli.running import PORTERO, Server, clean_environment, read_until, run
from tests.client.person import Person
from tests.client.world import PLAIN


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`portero serve` with Ana, and with `portero-cli` as its help says to register it."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder) as running:
        adding = [
            *(
                "client",
                "add",
                "portero-cli",
                "--public",
                "--first-party",
                "--redirect-uri",
                "http://127.0.0.1/callback",
            ),
            *(word for scope in ("openid", "profile", "email") for word in ("--scope", scope)),
        ]
        for done in (
            run(folder, "user", "add", "ana", "--name", "Ana Ruiz", "--password-stdin", stdin="correct horse\n"),
            run(folder, *adding),
        ):
            assert done.returncode == 0, done.stderr
        yield running


@pytest.fixture
def ana() -> Iterator[Person]:
    """Ana's browser."""
    person = Person()
    yield person
    person.close()


def session_at(server: Server) -> Session:
    return Session(Config(issuer=server.issuer, client_id="portero-cli", scope="openid profile"))


@pytest.mark.behaviour(1)
@pytest.mark.behaviour(9)
def test_a_person_signs_in_with_the_browser_of_this_machine(server: Server, ana: Person) -> None:
    """PKCE S256 always; the code comes to a port of this machine, which closes."""
    asked: list[str] = []

    def open_url(url: str) -> None:
        asked.append(url)
        ana.open(url)

    with session_at(server) as session:
        sign_in_with_browser(session, open_url=open_url)
        assert ask_userinfo(session)["name"] == "Ana Ruiz"
        assert session.state is State.SIGNED_IN

    query = parse_qs(urlsplit(asked[0]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert "You are signed in" in ana.page.text
    assert ana.page.headers["cache-control"] == "no-store"
    with pytest.raises(httpx2.ConnectError), httpx2.Client(**PLAIN) as http:
        http.get(query["redirect_uri"][0])


@pytest.mark.behaviour(2)
def test_two_sign_ins_at_the_same_time_both_succeed(server: Server) -> None:
    """Each has its own port, state and verifier."""
    together = threading.Barrier(2)

    def one(_: int) -> State:
        person = Person()

        def open_url(url: str) -> None:
            together.wait()
            person.open(url)

        with session_at(server) as session:
            sign_in_with_browser(session, open_url=open_url)
            person.close()
            return session.state

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(2))) == [State.SIGNED_IN] * 2


def _answer_with(change: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[str], None]:
    """A browser that comes back with something else than the server said."""

    def open_url(url: str) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        issuer = url.partition("/authorize")[0]
        answer = change({"code": "c", "state": query["state"], "iss": issuer})
        with httpx2.Client(**PLAIN) as http:
            http.get(f"{query['redirect_uri']}?{urlencode(answer)}")

    return open_url


@pytest.mark.behaviour(9)
def test_an_answer_that_names_another_issuer_is_refused_before_the_code_is_sent(server: Server) -> None:
    """RFC 9207 §2.4; so is one that names none, where the server says that it always does."""
    for change in (lambda answer: {**answer, "iss": "https://evil.tld"}, lambda answer: _without(answer, "iss")):
        with session_at(server) as session, pytest.raises(IssuerMismatch):
            sign_in_with_browser(session, open_url=_answer_with(change))
        assert session.token_info() is None


def test_what_the_server_refuses_is_said_by_its_registered_name(server: Server) -> None:
    """And the session is where it was."""
    denied = _answer_with(lambda answer: {**_without(answer, "code"), "error": "access_denied"})
    with session_at(server) as session:
        with pytest.raises(AuthorizationRefused, match="access_denied"):
            sign_in_with_browser(session, open_url=denied)
        assert session.state is State.SIGNED_OUT


@pytest.mark.behaviour(3)
@pytest.mark.behaviour(5)
def test_an_answer_counts_once_and_only_with_our_state(server: Server, ana: Person) -> None:
    """A page that finds the port can neither end the sign-in nor bring a code of its own into it."""
    pages: list[int] = []

    def open_url(url: str) -> None:
        redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        with httpx2.Client(**PLAIN) as http:
            pages.append(http.get(f"{redirect_uri}?code=evil&state=guessed").status_code)
            pages.append(http.get(redirect_uri.replace("/callback", "/favicon.ico")).status_code)
            rebound = {"host": "evil.tld"}
            pages.append(http.get(f"{redirect_uri}?code=evil", headers=rebound).status_code)
        ana.open(url)

    with session_at(server) as session:
        sign_in_with_browser(session, open_url=open_url)
        assert session.state is State.SIGNED_IN
    assert pages == [400, 404, 404]


@pytest.mark.behaviour(3)
def test_a_callback_that_runs_twice_is_taken_once() -> None:
    """A reload finds nothing waiting, and says so in the browser's language."""
    with Loopback("s1") as loopback, httpx2.Client(**PLAIN) as http:
        answers = [
            http.get(f"{loopback.redirect_uri}?code=c{n}&state=s1", headers={"accept-language": "es-AR"})
            for n in range(2)
        ]
        assert loopback.wait(10, over=threading.Event()) == {"code": ["c0"], "state": ["s1"]}

    assert [answer.status_code for answer in answers] == [200, 400]
    assert "Ya iniciaste sesión" in answers[0].text


@pytest.mark.behaviour(4)
def test_a_sign_in_that_nobody_finishes_ends_and_leaves_nothing(server: Server) -> None:
    """The port closes, and the session is where it was."""
    with session_at(server) as session:
        with pytest.raises(SignInTimeout):
            sign_in_with_browser(session, open_url=lambda _url: None, timeout=0.05)
        assert session.state is State.SIGNED_OUT
    assert "portero-sign-in" not in {thread.name for thread in threading.enumerate()}


def test_a_server_that_is_not_there_is_said_before_a_browser_opens() -> None:
    """No page that leads nowhere."""
    opened: list[str] = []
    session = Session(Config(issuer="http://127.0.0.1:9", client_id="portero-cli"))
    with session, pytest.raises(DiscoveryFailed):
        sign_in_with_browser(session, open_url=opened.append)

    assert opened == []


# ── the command line ─────────────────────────────────────────────────────────────────


@dataclass
class Said:
    """What one command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def portero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line on a machine of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def run(*arguments: str) -> Said:
        code = program.run(arguments)
        return Said(code, *capsys.readouterr())

    return run


def log_in(state: Path, issuer: str, ana: Person) -> str:
    """`portero login` with a person at the other end; returns what it said."""
    command = [PORTERO, "login", "--issuer", issuer, "--no-browser"]
    environment = {**clean_environment(), "XDG_STATE_HOME": str(state)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        said = read_until("/authorize?", process.stderr)
        ana.open(re.findall(r"http\S+/authorize\?\S+", said)[0])
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return str(out)


def test_login_whoami_token_and_logout(
    server: Server, ana: Person, tmp_path: Path, portero: Callable[..., Said]
) -> None:
    """The four commands tell one story; a server that is away meanwhile is one line, and nobody is signed out."""
    before = portero("token")
    assert (before.code, before.out) == (1, "")
    assert "portero login" in before.err

    assert log_in(tmp_path, server.issuer, ana).startswith("signed in as ")
    assert json.loads(portero("whoami", "--json").out)["name"] == "Ana Ruiz"
    assert "Ana Ruiz" in portero("whoami").out
    first = portero("token").out
    assert first == portero("token").out
    renewed = portero("token", "--refresh").out.strip()
    assert renewed.count(".") == 2
    assert renewed != first.strip()
    info = portero("token", "--info").out
    assert json.loads(info)["refreshable"] is True
    assert renewed not in info
    kept = [path for path in (tmp_path / "portero").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o077 for path in kept} == {0}

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("http_proxy", "http://127.0.0.1:9")
        patched.setenv("no_proxy", "")
        away = portero("token", "--refresh")
    assert (away.code, away.err.count("\n")) == (1, 1)
    assert "stay signed in" in away.err
    assert portero("token", "--refresh").code == 0

    assert portero("logout").out == "signed out\n"
    assert portero("logout").out == "nobody was signed in\n"
    after = portero("token")
    assert (after.code, after.out) == (1, "")
    with httpx2.Client(**PLAIN) as http:
        told = http.get(f"{server.issuer}/userinfo", headers={"Authorization": f"Bearer {renewed}"})
    assert told.status_code == 401


def _without(answer: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in answer.items() if key != name}
