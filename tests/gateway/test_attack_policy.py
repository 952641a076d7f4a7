"""Attack rows 6, 83 and 92 to 95: algorithms, preflights, missing configuration, smuggling."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from portero.core.jose import base64url
from portero.testing.tokens import new_key
from tests.gateway.engines import Answer, read_answer
from tests.gateway.world import ORDERS, PAGE, World, manifest_text


@pytest.mark.attack(row=6)
@pytest.mark.parametrize("alg", ["none", "HS256", "RS256", "ES384", "PS256", "EdDSA"])
@pytest.mark.parametrize("path", ["/api/orders/5", "/api/recent"])
def test_the_header_does_not_choose_the_algorithm(gateway: World, alg: str, path: str) -> None:
    """The key says its own: a signature by it under another name is refused, and one by its public half, too."""
    key = gateway.server.issuer.tokens.key
    claims = gateway.server.issuer.tokens.claims(aud=ORDERS)
    for signature in (None, b"", bytes(64), base64url.decode(key.public.members["x"])):
        token = gateway.server.issuer.tokens.compose({"alg": alg}, claims, signature=signature)
        assert gateway.gateway.request("GET", path, token=token).status == 401
    other = gateway.server.issuer.tokens.mint(key=new_key("RS256", kid=key.kid), aud=ORDERS)
    assert gateway.gateway.request("GET", path, token=other).status == 401
    assert gateway.seen == []


@pytest.mark.attack(row=83)
@pytest.mark.parametrize("path", ["/api/orders/5", "/api/orders/5/refund", "/api/files/a", "/api/unnamed", "/stock/x"])
@pytest.mark.parametrize("origin", [PAGE, "https://evil.test"])
def test_a_preflight_reaches_no_service(gateway: World, path: str, origin: str) -> None:
    """It is answered before authentication, and allows listed origins only."""
    headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-a"}
    answer = gateway.gateway.request("OPTIONS", path, headers=headers)

    assert answer.status == 204
    allowed = PAGE if origin == PAGE and path.startswith("/api") else None
    assert answer.header("access-control-allow-origin") == allowed
    assert ("x-a" in (answer.header("access-control-allow-headers") or "")) is (allowed is not None)
    assert gateway.seen == []


@pytest.mark.attack(row=83)
@pytest.mark.parametrize("headers", [{}, {"origin": PAGE}, {"access-control-request-method": "POST"}])
def test_other_options_are_checked_like_any_request(gateway: World, headers: dict[str, str]) -> None:
    """OPTIONS alone is no preflight (Fetch §3.3.2)."""
    assert gateway.gateway.request("OPTIONS", "/api/files/a", headers=headers).status == 401
    assert gateway.seen == []


@pytest.mark.attack(row=92)
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("FEED_SECRET", "MISSING_SECRET"), "MISSING_SECRET"),
        (('layout = "hybrid"', 'layout = "hybrd"'), "layout"),
        (("scopes =", "scops ="), "scops"),
        (('upstreams = ["http', 'upstreamz = ["http'), "upstreams"),
        (("listen =", 'tls = { certificate = "no.pem", key = "no.key" }\nlisten ='), "certificate"),
    ],
)
def test_a_gateway_that_is_not_whole_does_not_start(
    engine: str, tmp_path: Path, change: tuple[str, str], word: str
) -> None:
    """One line that names the setting; nothing listens."""
    text = manifest_text("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1")
    text = text.replace("{listen}", "127.0.0.1:0").replace("{admin}", "127.0.0.1:0")
    file = tmp_path / "portero.toml"
    file.write_text(text.replace(*change, 1))
    done = subprocess.run(
        [sys.executable, "-m", "portero", "gateway", "--engine", engine, "--manifest", str(file)],
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin", "FEED_SECRET": "x"},
    )  # fmt: skip

    assert done.returncode == 1
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.attack(row=93)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token x", "null"])
def test_who_brings_no_token_passes_nowhere(gateway: World, method: str, authorization: str | None) -> None:
    """Whatever stands where it should be."""
    headers = {} if authorization is None else {"authorization": authorization}
    for path in ("/api/files/a", "/api/admin", "/api/unnamed", "/stock/unnamed"):
        assert gateway.gateway.request(method, path, headers=headers).status in (401, 403)
    assert gateway.seen == []


SMUGGLED = "GET /admin HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\n\r\n"


@pytest.mark.attack(row=94)
@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 6", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 6"],
        ["Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"],
        ["Content-Length: 0, 5"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length : 5"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["X: y\r\n Transfer-Encoding: chunked"],
        ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"],
        [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ],
    ],
)
def test_no_second_request_hides_in_a_first(gateway: World, headers: list[str]) -> None:
    """Every request a service saw was one that the gateway decided about: `/admin` never is."""
    head = ["POST /api/files/a HTTP/1.1", "Host: a", f"Authorization: Bearer {gateway.token(scope='files:write')}"]
    body = f"0\r\n\r\n{SMUGGLED}"
    answers = pipelined(gateway, ("\r\n".join([*head, *headers]) + "\r\n\r\n" + body).encode("latin-1"))

    assert all(seen.target != "/admin" and not seen.values("x-smuggled") for seen in gateway.seen)
    assert len(gateway.seen) <= sum(answer.status == 200 for answer in answers) + 1
    assert all(answer.status in (0, 101, 200, 400, 403, 404, 501) for answer in answers)


@pytest.mark.attack(row=94)
@pytest.mark.parametrize("headers", [[], ["Transfer-Encoding: chunked"]])
def test_nothing_hides_behind_a_handshake(gateway: World, headers: list[str]) -> None:
    """What a client sends before its WebSocket is accepted is no request of the service's, which does not accept it."""
    handshake = [
        "GET /api/events HTTP/1.1", "Host: a", f"Authorization: Bearer {gateway.token()}", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]  # fmt: skip
    pipelined(gateway, ("\r\n".join([*handshake, *headers]) + "\r\n\r\n" + SMUGGLED).encode())

    assert all(seen.target == "/events" and not seen.values("x-smuggled") for seen in gateway.seen)


def pipelined(world: World, raw: bytes) -> list[Answer]:
    """Send bytes, and read answers until the connection ends.

    A probe behind them says `Connection: close`. It is sent on the connection as it is, never by closing
    one half: an engine may take that for a client that is gone, and end before its service was recorded.
    """
    with socket.create_connection(("127.0.0.1", world.gateway.port), timeout=60) as connection:
        connection.sendall(raw + b"GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answers = []
        while (answer := read_answer(connection)).status:
            answers.append(answer)
            if answer.status == 101:
                break
        return answers


@pytest.mark.attack(row=82)
@pytest.mark.parametrize(
    "field",
    [
        "{before} {forged} {behind} {other}", "{before} {forged} {behind} {good}", "{before} {good} {behind} {forged}",
        "{before} {good} {forged}", "{before} {good} x", "Basic {before} {good}", "x{before} {good}",
        "{before} ;{good}", "{before} {good};x", "{before} {good}=", "{before} {good}\t{behind} {forged}",
        "DPoP x {before} {good}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(("before", "behind"), [("Bearer", "bearer"), ("BEARER", "Bearer"), ("Bearer", "Bearer")])
def test_a_field_with_two_tokens_has_none(gateway: World, field: str, before: str, behind: str) -> None:
    """What one reader looks at and what another verifies is the same token: on the ordinary way and the long one."""
    claims = {"aud": ORDERS, "scope": "orders:read", "roles": ["auditor"]}
    good = gateway.server.issuer.mint(**claims)
    other = gateway.server.issuer.tokens.mint(header={"typ": "JWT"}, **claims)
    forged = f"{good.split('.')[0]}.e30.{good.split('.')[2]}"
    said = field.format(before=before, behind=behind, good=good, other=other, forged=forged)

    for path in ("/api/orders", "/api/audit"):
        assert gateway.gateway.request("GET", path, token=good).status == 200
        gateway.forget()
        assert gateway.gateway.request("GET", path, headers={"authorization": said}).status in (400, 401), path
        assert gateway.seen == []


@pytest.mark.attack(row=94)
@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_a_tunnel_is_not_dug(gateway: World, method: str) -> None:
    """CONNECT and TRACE are no requests to a service."""
    for target in ("127.0.0.1:80", "/api/health", "/api/files/a"):
        answer = gateway.gateway.request(method, target, token=gateway.token(scope="files:write"))
        assert answer.status in (0, 400, 403, 404, 405, 501)
    assert [seen for seen in gateway.seen if seen.method in ("CONNECT", "TRACE")] == []


@pytest.mark.attack(row=95)
@pytest.mark.parametrize("target", ["api/admin", "api/health", "*", "admin", "", "http:/api/admin", "?x", "/"])
def test_a_target_without_its_slash_dodges_nothing(gateway: World, target: str) -> None:
    """Deny rules are no list of beginnings: what matches nothing is refused."""
    head = [f"POST {target} HTTP/1.1", "Host: a", "Content-Type: application/grpc", "TE: trailers", "Content-Length: 0"]
    answer = gateway.gateway.exchange(("\r\n".join(head) + "\r\n\r\n").encode())

    assert answer.status in (0, 200, 400, 403)
    if answer.status == 200:  # gRPC's refusal: a trailer says it
        assert answer.header("grpc-status") not in (None, "0")
    assert gateway.seen == []
