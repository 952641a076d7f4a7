"""What an Envoy configuration cannot decide: proofs of possession, step-up, and a cookie that becomes a header."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from portero.testing.jwks_server import JwksServer
from portero.testing.proofs import DpopKey
from tests.gateway.embedded.conftest import ENVIRON, World, write_manifest
from tests.gateway.embedded.running import Answer, Caller, RunningGateway, Upstream

PAGE = "https://shop.test"
PUBLIC = "https://gateway.test"
BOUND = """
[services.bound]
audience = "https://service.test/api"
upstreams = ["http://127.0.0.1:{port}"]
cors_origins = ["https://shop.test"]
cookie = {{ name = "access" }}
dpop = {{ urls = ["{public}"], nonce_key_env = "NONCE_KEY" }}
routes = [
  {{ match = "* /bound/{{name}}", require = {{ dpop = true }} }},
  {{ match = "GET /either/{{name}}" }},
  {{ match = "GET /recent", require = {{ max_auth_age = "10m" }} }},
  {{ match = "GET /strong", require = {{ acr = ["phr"] }} }},
  {{ match = "* /by-cookie", cookie = true }},
]
"""


@pytest.fixture(scope="module", params=["hybrid", "gateway"])
def both(
    request: pytest.FixtureRequest, issuer: JwksServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    upstream = Upstream()
    more = BOUND.format(port=upstream.port, public=PUBLIC)
    folder = tmp_path_factory.mktemp("credentials")
    manifest = write_manifest(folder, issuer, upstream.port, layout=request.param, more=more)
    with RunningGateway(manifest, {**ENVIRON, "NONCE_KEY": "A" * 43}) as gateway:
        yield World(issuer, upstream, gateway)
    upstream.close()


@pytest.fixture
def world(both: World) -> World:
    both.upstream.seen.clear()
    return both


def ask(world: World, target: str, *lines: str, method: str = "GET") -> Answer:
    with Caller(world.port) as caller:
        head = [f"{method} {target} HTTP/1.1", "Host: gateway.test", *lines]
        caller.send(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        return caller.answer(method)


def proven(world: World, key: DpopKey, token: str, target: str, *, method: str = "GET", htu: str = "") -> Answer:
    """A request with its proof, and once more with the nonce the gateway asked for."""
    url = htu or PUBLIC + target

    def once(nonce: str | None) -> Answer:
        headers = key.headers(token, method, url, clock=world.issuer.clock, nonce=nonce)
        return ask(world, target, *(f"{name}: {value}" for name, value in headers.items()), method=method)

    answer = once(None)
    nonce = answer.header("dpop-nonce")
    return once(nonce) if answer.status == 401 and nonce is not None else answer


def test_a_proof_of_possession_is_checked_here(world: World) -> None:
    """In the layout `gateway` its service gets an assertion and no proof; in `hybrid` both as they came."""
    key = DpopKey()
    token = world.token(cnf=key.cnf)

    assert proven(world, key, token, "/bound/1").status == 200
    assert proven(world, key, token, "/bound/1", method="POST").status == 200
    assert proven(world, key, token, "/either/1").status == 200
    for seen in world.upstream.seen:
        (authorization,) = seen.all("authorization")
        if world.gateway.worker.state.manifest.layout.value == "gateway":
            assert authorization.startswith("Bearer ")
            assert token not in authorization
            assert seen.all("dpop") == []
        else:
            assert authorization == f"DPoP {token}"
            assert len(seen.all("dpop")) == 1


def test_what_proves_nothing_reaches_nobody(world: World) -> None:
    """No proof, another's, one for another URL, a bound token as a Bearer, one used twice."""
    key = DpopKey()
    token = world.token(cnf=key.cnf)

    assert ask(world, "/bound/1", f"Authorization: Bearer {token}").status == 401
    assert ask(world, "/either/1", f"Authorization: Bearer {token}").status == 401
    assert ask(world, "/bound/1", f"Authorization: DPoP {token}").status == 401
    assert ask(world, "/bound/1", f"Authorization: Bearer {world.token()}").status == 401
    assert proven(world, DpopKey(), token, "/bound/1").status == 401
    assert proven(world, key, token, "/bound/1", htu=f"{PUBLIC}/bound/2").status == 401
    assert world.upstream.seen == []


def test_a_proof_counts_once(world: World) -> None:
    """The second request with the same proof is refused, whoever sends it."""
    key = DpopKey()
    token = world.token(cnf=key.cnf)
    nonce = ask(world, "/bound/1", *_lines(world, key, token, None)).header("dpop-nonce")
    lines = _lines(world, key, token, nonce)

    assert ask(world, "/bound/1", *lines).status == 200
    assert ask(world, "/bound/1", *lines).status == 401
    assert len(world.upstream.seen) == 1


def _lines(world: World, key: DpopKey, token: str, nonce: str | None) -> list[str]:
    headers = key.headers(token, "GET", f"{PUBLIC}/bound/1", clock=world.issuer.clock, nonce=nonce)
    return [f"{name}: {value}" for name, value in headers.items()]


@pytest.mark.parametrize(
    ("target", "good", "bad", "asked"),
    [
        ("/recent", {"auth_time": 0}, {"auth_time": -3600}, 'max_age="600"'),
        ("/strong", {"acr": "phr"}, {"acr": "pwd"}, 'acr_values="phr"'),
    ],
)
def test_step_up_is_asked_for_here(
    world: World, target: str, good: dict[str, object], bad: dict[str, object], asked: str
) -> None:
    """RFC 9470: the challenge says what is wanted, and who brings that passes."""
    now = int(time.time())

    def token(claims: dict[str, object]) -> str:
        return world.token(**{name: now + value if isinstance(value, int) else value for name, value in claims.items()})

    refused = ask(world, target, f"Authorization: Bearer {token(bad)}")

    assert refused.status == 401
    challenge = refused.header("www-authenticate") or ""
    assert 'error="insufficient_user_authentication"' in challenge
    assert asked in challenge
    assert world.upstream.seen == []
    assert ask(world, target, f"Authorization: Bearer {token(good)}").status == 200


def test_a_cookie_becomes_a_header(world: World) -> None:
    """From the page that may, with the header no other page can send; other cookies pass, the token's never."""
    token = world.token()
    cookie = f"Cookie: theme=dark; access={token}; lang=es"

    for lines in ([], ["Origin: https://evil.test", "X-Portero: 1"], [f"Origin: {PAGE}"]):
        assert ask(world, "/by-cookie", cookie, *lines).status == 401
    assert ask(world, "/either/1", cookie, f"Origin: {PAGE}", "X-Portero: 1").status == 401
    assert world.upstream.seen == []

    answer = ask(world, "/by-cookie", cookie, f"Origin: {PAGE}", "X-Portero: 1")

    assert answer.status == 200
    (seen,) = world.upstream.seen
    assert seen.all("cookie") == ["theme=dark; lang=es"]
    (authorization,) = seen.all("authorization")
    is_assertion = world.gateway.worker.state.manifest.layout.value == "gateway"
    assert (authorization == f"Bearer {token}") is not is_assertion
    assert all(token not in value for name, value in seen.headers if name != "authorization")


def test_a_cookie_and_a_header_are_two_tokens(world: World) -> None:
    """Nobody guesses which of them counts."""
    lines = [f"Cookie: access={world.token()}", f"Origin: {PAGE}", "X-Portero: 1"]

    assert ask(world, "/by-cookie", *lines, f"Authorization: Bearer {world.token()}").status == 400
    assert world.upstream.seen == []
