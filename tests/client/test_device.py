"""Signing in with a code that is typed elsewhere: the client, the real server, and its page (RFC 8628)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from portero.client import (
    AuthorizationRefused,
    Config,
    DevicePrompt,
    Session,
    SignInRequired,
    SignInTimeout,
    State,
    TokenEndpointUnavailable,
    ask_userinfo,
    sign_in_on_device,
)
from portero.core.types import ClientId
from tests.cli.running import PORTERO, Server, clean_environment, read_until, run
from tests.client.person import Person
from tests.client.world import PLAIN, REPORTS, Fault, World

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`portero serve` with Ana, and two programs: one of our own, one of a stranger."""
    folder = tmp_path_factory.mktemp("server")
    grants = ("--grant", "device_code", "--grant", "refresh_token", "--scope", "openid", "--scope", "profile")
    with Server(folder) as running:
        for done in (
            run(folder, "user", "add", "ana", "--name", "Ana Ruiz", "--password-stdin", stdin="correct horse\n"),
            run(folder, "client", "add", "portero-cli", "--public", "--first-party", *grants),
            run(folder, "client", "add", "television", "--public", "--name", "Television", *grants),
        ):
            assert done.returncode == 0, done.stderr
        yield running


@pytest.fixture
def ana() -> Iterator[Person]:
    """Ana's browser."""
    person = Person()
    yield person
    person.close()


def sign_in(server: Server, meanwhile: Callable[[DevicePrompt], object], *, client_id: str = "portero-cli") -> Session:
    """A device that shows its code to `meanwhile`, and polls without waiting."""
    session = Session(Config(issuer=server.issuer, client_id=client_id, scope="openid profile"))
    try:
        sign_in_on_device(session, show=meanwhile, pause=lambda _seconds: None)
    except BaseException:
        session.close()
        raise
    return session


def type_code(ana: Person, prompt: DevicePrompt, *, decision: str, link: bool = False) -> None:
    """What a person does."""
    ana.open((prompt.complete or "") if link else prompt.verification_uri)
    ana.send(path="/device", user_code=prompt.user_code.lower().replace("-", " "))
    assert prompt.user_code in ana.page.text, ana.page.text
    ana.send(path="/device", decision=decision)


@pytest.mark.parametrize("link", [False, True], ids=["typed", "by a link"])
def test_a_person_who_agrees_signs_the_device_in(server: Server, ana: Person, link: bool) -> None:
    """Also by the link of a QR code, which still asks."""
    session = sign_in(server, lambda prompt: type_code(ana, prompt, decision="allow", link=link))
    with session:
        assert ask_userinfo(session)["name"] == "Ana Ruiz"
        session.refresh()
        assert "The device is signed in" in ana.page.text


def test_the_device_has_a_session_of_its_own(server: Server, ana: Person) -> None:
    """Signing out in the browser where the code was typed leaves it signed in."""
    with sign_in(server, lambda prompt: type_code(ana, prompt, decision="allow")) as session:
        ana.open(f"{server.issuer}/end_session")
        ana.send(path="/end_session", decision="sign_out")
        assert "You are signed out" in ana.page.text

        session.refresh()
        assert session.state is State.SIGNED_IN


def test_a_person_who_does_not_agree_is_said(server: Server, ana: Person) -> None:
    """`access_denied`, and the code is of no use any more."""
    shown: list[DevicePrompt] = []

    def deny(prompt: DevicePrompt) -> None:
        shown.append(prompt)
        type_code(ana, prompt, decision="deny")

    with pytest.raises(AuthorizationRefused, match="access_denied"):
        sign_in(server, deny)
    assert "The device is not signed in" in ana.page.text
    ana.open(shown[0].verification_uri)
    ana.send(path="/device", user_code=shown[0].user_code)
    assert "No device is waiting" in ana.page.text


def test_a_strangers_program_is_remembered_among_the_applications(server: Server, ana: Person) -> None:
    """What was allowed can be taken back, and ends then."""
    with sign_in(server, lambda prompt: type_code(ana, prompt, decision="allow"), client_id="television") as session:
        ana.open(f"{server.issuer}/account/applications")
        assert "Television" in ana.page.text
        ana.send(path="/account/applications", client_id="television")
        with pytest.raises(SignInRequired):
            session.refresh()


def test_login_on_a_machine_without_a_browser(server: Server, ana: Person, tmp_path: Path) -> None:
    """`portero login --device` says where to go and what to type."""
    command = [PORTERO, "login", "--issuer", server.issuer, "--scope", "openid", "--device"]
    environment = {**clean_environment(), "XDG_STATE_HOME": str(tmp_path)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        said = read_until("Waiting for you", process.stderr)
        found = re.search(r"[A-Z]{4}-[A-Z]{4}", said)
        assert found, said
        type_code(ana, DevicePrompt(f"{server.issuer}/device", found[0], None, 600), decision="allow")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("signed in as ")


# ── the client's side alone ──────────────────────────────────────────────────────────


def poll(world: World, answers: list[tuple[int, dict[str, object]]]) -> list[float]:
    """Poll a server that answers so; returns how long the client waited before each poll."""
    world.put(replace(REPORTS, client_id=ClientId("tv"), grant_types=(GRANT, "refresh_token"), redirect_uris=()))
    world.faults += [Fault(status=status, body=orjson.dumps(body)) for status, body in answers]
    session = world.session(sign_in=False, client_id="tv", scope="openid")
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        world.advance(seconds)

    sign_in_on_device(session, show=lambda _prompt: None, pause=pause)
    return waited


def test_the_client_polls_at_the_pace_it_is_told(world: World) -> None:
    """`slow_down` is five seconds more from then on, and so is no answer at all (§3.5)."""
    granted = {"access_token": "a", "expires_in": 300, "refresh_token": "r"}
    pending = {"error": "authorization_pending"}
    answers: list[tuple[int, dict[str, object]]] = [
        (400, pending),
        (400, {"error": "slow_down"}),
        (400, pending),
        (503, {}),
        (200, granted),
    ]

    assert poll(world, answers) == [5, 5, 10, 10, 15]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": "expired_token"}, SignInTimeout),
        ({"error": "access_denied"}, AuthorizationRefused),
        ({"error": "invalid_client"}, TokenEndpointUnavailable),
    ],
)
def test_what_ends_the_polling_is_a_named_error(
    world: World, answer: dict[str, object], error: type[Exception]
) -> None:
    """And the session is where it was."""
    with pytest.raises(error):
        poll(world, [(400, answer)])


def test_a_code_that_nobody_types_ends(world: World) -> None:
    """After ten minutes, without a word of the server's."""
    with pytest.raises(SignInTimeout):
        poll(world, [(400, {"error": "slow_down"})] * 40)


def test_the_prompt_shows_what_a_person_needs_and_no_secret(server: Server) -> None:
    """The device code is nowhere to be seen."""
    with httpx2.Client(**PLAIN) as http:
        form = {"client_id": "portero-cli", "scope": "openid"}
        told = http.post(f"{server.issuer}/device_authorization", data=form).json()
    shown: list[DevicePrompt] = []

    def stop(prompt: DevicePrompt) -> None:
        shown.append(prompt)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sign_in(server, stop)
    assert set(told) == {
        *("device_code", "user_code", "verification_uri"),
        *("verification_uri_complete", "expires_in", "interval"),
    }
    assert shown[0].verification_uri == f"{server.issuer}/device"
    assert len(told["device_code"]) > 80
    assert told["device_code"] not in repr(shown[0])
