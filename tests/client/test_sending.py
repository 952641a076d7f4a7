"""Who gets the token, what is repeated, and what is not (behaviours 10 to 12, 39 to 42, 65)."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import requests

from portero.client import Auth, NotReplayableError, StepUpRequired
from portero.client.requests import RequestsSession
from portero.core.errors import ConfigurationError
from tests.client.world import PLAIN, World

LATER = 1800.0
LIBRARIES = pytest.mark.parametrize("library", [httpx2, httpx], ids=["httpx2", "httpx"])


@pytest.mark.behaviour(10)
@pytest.mark.behaviour(66)
@LIBRARIES
def test_only_an_allowed_origin_gets_the_token(world: World, library: Any) -> None:
    """Another port, another name for the same machine, another scheme: none of them is the same origin."""
    with library.Client(auth=Auth(world.session()), **PLAIN) as http:
        answer = http.get(f"{world.other_origin}/orders")

    assert answer.status_code == 401
    assert "authorization" not in world.requests[0].headers
    assert world.posts == []


@pytest.mark.behaviour(10)
@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.evil.tld/",
        "https://api.example@evil.tld/",
        "https://api.example:444/",
        "http://api.example/",
        "https://evil.tld/?https://api.example/",
    ],
)
def test_an_origin_is_compared_as_an_origin_and_not_as_the_beginning_of_a_text(world: World, url: str) -> None:
    """`https://api.x` is no prefix of `https://api.x.evil.tld`."""
    sender = world.session(allowed_origins=("https://api.example",))._sender

    assert not sender.is_ours(url)
    assert sender.is_ours("https://API.example:443/orders")


def test_an_auth_that_nobody_may_hear_of_is_a_mistake(world: World) -> None:
    """Absent configuration never means everybody."""
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        Auth(world.session(allowed_origins=()))


@pytest.mark.behaviour(11)
@LIBRARIES
def test_an_authorization_header_the_caller_set_is_never_overwritten(world: World, library: Any) -> None:
    """Then the answer, too, is the caller's own business."""
    with library.Client(auth=Auth(world.session()), **PLAIN) as http:
        answer = http.get(f"{world.api}/orders", headers={"Authorization": "Basic YTpi"})

    assert (answer.status_code, world.requests[0].headers["authorization"]) == (401, "Basic YTpi")
    assert world.posts == []


@pytest.mark.behaviour(12)
@LIBRARIES
def test_a_redirect_to_another_origin_carries_no_token(world: World, library: Any) -> None:
    """And its 401 refreshes nothing."""
    with library.Client(auth=Auth(world.session()), **PLAIN, follow_redirects=True) as http:
        answer = http.get(f"{world.api}/redirect", params={"to": f"{world.other_origin}/orders"})

    assert answer.status_code == 401
    assert ["authorization" in request.headers for request in world.requests] == [True, False]
    assert world.posts == []


@pytest.mark.behaviour(39)
@LIBRARIES
def test_one_retry_and_the_answer_that_comes_back_is_the_second_one(world: World, library: Any) -> None:
    """A second 401 comes back as it is."""
    auth = Auth(world.session())
    world.advance(LATER, client=False)
    with library.Client(auth=auth, **PLAIN) as http:
        assert http.get(f"{world.api}/orders").status_code == 200
        assert len(world.requests) == 2
        assert http.get(f"{world.api}/refuses?challenge=Bearer").status_code == 401
        assert len(world.requests) == 4


def _bodies(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    file = folder / "upload.bin"
    file.write_bytes(bytes(range(256)) * 300)

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            yield b"made "
            yield b"anew"

    yield "text", {"content": "ñandú"}
    yield "bytes", {"content": bytes(range(256))}
    yield "JSON", {"json": {"item": "rye"}}
    yield "form", {"data": {"item": "rye", "more": ["a", "b"]}}
    yield "multipart", {"files": {"file": ("a.bin", file.open("rb"))}, "data": {"item": "rye"}}
    yield "what begins anew each time", {"content": Chunks()}
    yield "nothing", {}


@pytest.mark.behaviour(40)
@LIBRARIES
def test_a_body_that_can_be_sent_twice_is_byte_identical_the_second_time(
    world: World, library: Any, tmp_path: Path
) -> None:
    """Of every kind that `httpx` takes."""
    auth = Auth(world.session())
    for kind, body in _bodies(tmp_path):
        world.requests.clear()
        world.advance(LATER, client=False)
        with library.Client(auth=auth, **PLAIN) as http:
            assert http.post(f"{world.api}/orders", **body).status_code == 200, kind
        first, second = world.requests
        assert first.body == second.body, kind
        assert first.headers.get("content-type") == second.headers.get("content-type"), kind
        for opened in body.get("files", {}).values():
            opened[1].close()


class _Pipe(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        return 0


def _streams(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    def generated() -> Iterator[bytes]:
        yield b"once"

    file = folder / "upload.bin"
    file.write_bytes(b"once")
    yield "generator", {"content": generated()}
    yield "file", {"content": file.open("rb")}
    yield "iterator", {"content": iter([b"once"])}
    yield "multipart that cannot seek", {"files": {"file": ("a", _Pipe())}}


@pytest.mark.behaviour(41)
@pytest.mark.behaviour(65)
@LIBRARIES
def test_a_stream_is_never_sent_again(world: World, library: Any, tmp_path: Path) -> None:
    """`NotReplayableError` with the 401, a fresh token for the next call, and no empty body anywhere."""
    auth = Auth(world.session())
    for kind, body in _streams(tmp_path):
        world.requests.clear()
        world.posts.clear()
        world.advance(LATER, client=False)
        with library.Client(auth=auth, **PLAIN) as http:
            with pytest.raises(NotReplayableError) as caught:
                http.post(f"{world.api}/orders", **body)
            assert caught.value.response.status_code == 401, kind
            assert (len(world.requests), len(world.posts)) == (1, 1), kind
            assert http.post(f"{world.api}/orders", content=b"built again").status_code == 200, kind
        if kind == "file":
            body["content"].close()


@pytest.mark.behaviour(41)
@pytest.mark.behaviour(65)
@LIBRARIES
def test_an_asynchronous_stream_is_never_sent_again(world: World, library: Any) -> None:
    """The same in an event loop."""
    import asyncio

    async def generated() -> AsyncIterator[bytes]:
        yield b"once"

    async def call() -> None:
        async with library.AsyncClient(auth=Auth(world.session()), **PLAIN) as http:
            world.advance(LATER, client=False)
            with pytest.raises(NotReplayableError) as caught:
                await http.post(f"{world.api}/orders", content=generated())
            assert caught.value.response.status_code == 401

    asyncio.run(call())
    assert [request.body for request in world.requests] == [b"once"]


@pytest.mark.behaviour(41)
def test_before_a_stream_is_sent_the_token_is_checked(world: World) -> None:
    """A stale one is refreshed first, so that the one try is a good one."""
    auth = Auth(world.session())
    world.advance(LATER)
    with httpx2.Client(auth=auth, **PLAIN) as http:
        answer = http.post(f"{world.api}/orders", content=iter([b"once"]))

    assert answer.text == "POST once"
    assert len(world.requests) == 1


@pytest.mark.behaviour(42)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("challenge", "replay_unsafe", "all_sent"), [("Bearer", False, 2), ("", False, 1), ("", True, 2)]
)
def test_what_may_have_acted_is_repeated_only_after_a_challenge(
    world: World, method: str, challenge: str, replay_unsafe: bool, all_sent: int
) -> None:
    """Whoever writes a challenge refused before acting; `replay_unsafe` says that all our services do."""
    auth = Auth(world.session(replay_unsafe=replay_unsafe))
    with httpx2.Client(auth=auth, **PLAIN, headers={"Idempotency-Key": "k1"}) as http:
        http.request(method, f"{world.api}/refuses", params={"challenge": challenge})

    assert (2 if method == "GET" else all_sent) == len(world.requests)
    assert {"k1"} == {request.headers["idempotency-key"] for request in world.requests}


def test_a_step_up_says_what_is_needed_and_repeats_nothing(world: World) -> None:
    """RFC 9470 §3."""
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="60"'
    auth = Auth(world.session())
    with httpx2.Client(auth=auth, **PLAIN) as http, pytest.raises(StepUpRequired) as caught:
        http.get(f"{world.api}/refuses", params={"challenge": challenge})

    assert (caught.value.acr_values, caught.value.max_age) == ("mfa", "60")
    assert (len(world.requests), len(world.posts)) == (1, 0)


@LIBRARIES
def test_a_request_that_is_sent_again_by_its_owner_gets_the_token_of_then(world: World, library: Any) -> None:
    """No token of ours stays in a request."""
    auth = Auth(world.session())
    with library.Client(auth=auth, **PLAIN) as http:
        request = http.build_request("GET", f"{world.api}/orders")
        for _ in range(2):
            assert http.send(request).status_code == 200
            assert "authorization" not in request.headers
            world.advance(LATER)


def test_requests_send_refresh_and_repeat_alike(world: World) -> None:
    """A `requests.Session` with the same rules: origins, one retry, one-shot bodies."""
    session = world.session()
    with RequestsSession(session) as http:
        http.trust_env = False
        world.advance(LATER, client=False)
        answer = http.post(f"{world.api}/orders", json={"item": "rye"})
        assert (answer.status_code, answer.text) == (200, 'POST {"item": "rye"}')
        assert "Authorization" not in answer.request.headers
        assert http.get(f"{world.other_origin}/orders").status_code == 401
        assert http.get(f"{world.api}/redirect", params={"to": f"{world.other_origin}/orders"}).status_code == 401
        assert "authorization" not in world.requests[-1].headers
        assert http.get(f"{world.api}/redirect", params={"to": f"{world.api}/orders"}).status_code == 200

        world.advance(LATER, client=False)
        with pytest.raises(NotReplayableError) as caught:
            http.post(f"{world.api}/orders", data=io.BytesIO(b"once"))
        assert isinstance(caught.value.response, requests.Response)
        world.advance(LATER, client=False)
        with pytest.raises(NotReplayableError):
            http.post(f"{world.api}/orders", data=iter([b"once"]))
