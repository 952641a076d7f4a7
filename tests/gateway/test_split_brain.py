"""No two engines disagree: generated manifests, routes, paths and tokens through a gateway and through the Guard.

What Envoy cannot tell apart and only an issuer that we trust could sign is listed with its reason, and
closes by itself where the Guard decides (`ext_authz`).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from portero.core.errors import ConfigurationError
from portero.core.policy.manifest_parser import parse_manifest
from portero.gateway.envoy.authorize import Authorizer
from portero.gateway.guards import GatewayGuards
from portero.gateway.requests import Answer, Request
from portero.testing.jwks_server import CLIENT_ID, CLIENT_SECRET, JwksServer
from portero.testing.tokens import new_key
from tests.gateway.engines import Running
from tests.gateway.upstream import RecordingUpstream

AUDIENCE = "https://api.test"
SCOPES, ROLES = ("a:read", "a:write", "b", "b.c"), ("admin", "user", "ops")
SEGMENTS = ("orders", "items", "x", "a-b", "caf\u00e9", "~me")
Mint = Callable[[JwksServer, dict[str, Any]], str]

ONLY_THE_ISSUER = {
    "duplicate claim": "jwt_verify_lib takes the last of two members; a signature by the issuer covers both",
    "iat in the future": "jwt_authn does not look at iat; nbf and exp it does",
    "iat missing": "the same",
    "iat a text": "the same",
    "sid a list": "claim_to_headers encodes a list, so no revocation names it; our issuer writes a text",
    "client_id a number": "claim_to_headers writes numbers as text",
    "jti a number": "the same",
    "sub a number": "the same",
    "crit": "jwt_verify_lib knows no crit; the issuer would have to sign an extension it does not use",
    "scope a list": "claim_to_headers encodes a list: no scope is found in it, which is 403 instead of 401",
    "roles a text": "a list is looked for: no role is found in it, which is 403 instead of 401",
    "auth_time a text": "nobody reads it on a route that Envoy decides",
    "amr a text": "the same",
    "acr a number": "the same",
    "longer than 8192 bytes": "[gateway.limits] header_bytes bounds it",
    "nbf at the leeway": "a second of rounding",
}


def changed(**changes: Any) -> Mint:
    return lambda server, good: server.issuer.mint(**{**good, **changes})


def with_header(**header: Any) -> Mint:
    return lambda server, good: server.issuer.tokens.mint(header=header, **good)


def duplicate(server: JwksServer, good: dict[str, Any]) -> str:
    claims = json.dumps(server.issuer.tokens.claims(**good))
    return server.issuer.tokens.compose({}, (claims[:-1] + ', "sub": "root"}').encode())


TOKENS: dict[str, Mint] = {
    "good": changed(),
    "good, of another session": changed(sid="session-2"),
    "without sid": changed(sid=None),
    "two audiences": changed(aud=[AUDIENCE, "https://other.test"]),
    "audience in a list": changed(aud=[AUDIENCE]),
    "a claim more": changed(extra={"deep": [1, 2, {"x": None}]}),
    "typ in capitals": with_header(typ="AT+JWT"),
    "typ with application/": with_header(typ="application/at+jwt"),
    "nbf now": lambda server, good: server.issuer.mint(**good, nbf=int(server.clock.now())),
    "exp a fraction": lambda server, good: server.issuer.mint(**good, exp=server.clock.now() + 300.5),
    # Refused by everybody.
    "expired": changed(exp=1000),
    "exp missing": changed(exp=None),
    "exp a text": changed(exp="4000000000"),
    "exp negative": changed(exp=-1),
    "exp huge": changed(exp=10**30),
    "nbf in the future": lambda server, good: server.issuer.mint(**good, nbf=int(server.clock.now()) + 600),
    "another audience": changed(aud="https://other.test"),
    "audience missing": changed(aud=None),
    "audience a prefix": changed(aud=AUDIENCE + "/x"),
    "another issuer": changed(iss="https://other.test"),
    "issuer with a slash": lambda server, good: server.issuer.mint(**good, iss=server.url + "/"),
    "issuer missing": changed(iss=None),
    "sub missing": changed(sub=None),
    "sub empty": changed(sub=""),
    "jti missing": changed(jti=None),
    "client_id missing": changed(client_id=None),
    "scope missing": changed(scope=None),
    "bound to a key": changed(cnf={"jkt": "thumb"}),
    "bound to a certificate": changed(cnf={"x5t#S256": "thumb"}),
    "an ID token": with_header(typ="JWT"),
    "a logout token": with_header(typ="logout+jwt"),
    "no typ": with_header(typ=None),
    "typ in another member": with_header(typ="JWT", other={"typ": "at+jwt"}),
    "unsigned": lambda server, good: server.issuer.tokens.compose({"alg": "none"}, good, signature=b""),
    "another alg": with_header(alg="RS256"),
    "no kid": with_header(kid=None),
    "forged": lambda server, good: server.issuer.tokens.mint(key=new_key(kid="key-1"), **good),
    "of an unknown key": lambda server, good: server.issuer.tokens.mint(key=new_key(kid="nobody"), **good),
    "revoked": changed(sid="gone"),
    "revoked by jti": changed(jti="gone"),
    "revoked by client": changed(client_id="gone"),
    "no token at all": lambda *_: "",
    "not a token": lambda *_: "x.y.z",
    "four segments": lambda server, good: server.issuer.mint(**good) + ".x",
    "a space in it": lambda server, good: server.issuer.mint(**good).replace(".", ". ", 1),
    "signature cut": lambda server, good: server.issuer.mint(**good)[:-4],
    "padded": lambda server, good: server.issuer.mint(**good) + "=",
    # Only the issuer could sign these.
    "duplicate claim": duplicate,
    "iat in the future": lambda server, good: server.issuer.mint(**good, iat=int(server.clock.now()) + 600),
    "iat missing": changed(iat=None),
    "iat a text": changed(iat="1"),
    "sid a list": changed(sid=["session-1"]),
    "client_id a number": changed(client_id=7),
    "jti a number": changed(jti=7),
    "sub a number": changed(sub=7),
    "crit": with_header(crit=["exp"]),
    "scope a list": lambda server, good: server.issuer.mint(**{**good, "scope": good["scope"].split()}),
    "roles a text": changed(roles="admin"),
    "auth_time a text": changed(auth_time="1"),
    "amr a text": changed(amr="pwd"),
    "acr a number": changed(acr=1),
    "longer than 8192 bytes": changed(padding="x" * 7000),
}


def generated_manifest(random: random.Random, issuer: str, upstream: str) -> str:
    """Up to a dozen routes of every kind; those that tie with an earlier one are left out by the caller."""
    routes = []
    for _ in range(3):
        method = random.choice(["GET", "POST", "DELETE", "*"])
        segments = [random.choice([*SEGMENTS, "{one}", "{two}"]) for _ in range(random.randint(1, 3))]
        if segments.count("{one}") > 1 or segments.count("{two}") > 1:
            continue
        if random.random() < 0.15:
            segments.append("{rest...}")
        route = f'[[services.api.routes]]\nmatch = "{method} /{"/".join(segments)}"\n'
        kind = random.random()
        if kind < 0.1:
            route += "public = true\n"
        else:
            required = []
            for name, values in (("scopes", SCOPES), ("scopes_any", SCOPES), ("roles", ROLES), ("roles_any", ROLES)):
                if random.random() < 0.3:
                    chosen = random.sample(values, random.randint(1, 2))
                    required.append(f"{name} = {chosen!r}".replace("'", '"'))
            if random.random() < 0.15:
                required.append('acr = ["pwd", "phr"]')
            if random.random() < 0.15:
                required.append('claims = { tenant = "acme" }')
            if random.random() < 0.1:
                required.append('max_auth_age = "10m"')
            route += f"require = {{ {', '.join(required)} }}\n" if required else ""
        routes.append(route)
    default = random.choice(["deny", "authenticated", "public"])
    prefix = random.choice(["", 'prefix = { api = "/v1" }\n'])
    head = f"""
layout = "hybrid"
[issuers.main]
issuer = "{issuer}"
revocation = {{ client_id = "{CLIENT_ID}", secret_env = "FEED_SECRET" }}
[roles]
ops = ["b.c"]
[services.api]
audience = "{AUDIENCE}"
upstreams = ["{upstream}"]
default = "{default}"
"""
    tail = f'[gateway]\nlisten = "{{listen}}"\nadmin = "{{admin}}"\n{prefix}'
    kept: list[str] = []
    for route in routes:
        try:
            parse_manifest(filled(head + "".join([*kept, route]) + tail), file="portero.toml")
        except ConfigurationError:
            continue
        kept.append(route)
    return head + "".join(kept) + tail


def filled(text: str) -> str:
    return text.replace("{listen}", "127.0.0.1:1").replace("{admin}", "127.0.0.1:2")


def generated_request(random: random.Random, prefix: str, named: list[tuple[str, str]]) -> tuple[str, str]:
    """Half of them of a route that is named."""
    if random.random() < 0.5:
        method, template = random.choice(named)
        path = re.sub(r"\{\w+\.\.\.\}", "x/y", template)
        path = quote(re.sub(r"\{\w+\}", random.choice(["5", "x", "orders"]), path), safe="/~")
        return ("PUT" if method == "*" else method), prefix + path
    return random.choice(["GET", "POST", "DELETE", "HEAD"]), generated_path(random, prefix)


def generated_path(random: random.Random, prefix: str) -> str:
    segments = [
        random.choice([*SEGMENTS, "5", "%41", "caf%c3%a9", "a%20b", "a;b", "b.c"]) for _ in range(random.randint(1, 4))
    ]
    path = "/".join(segments).replace("\u00e9", "%C3%A9").replace("~me", random.choice(["~me", "%7eme"]))
    odd = random.random()
    if odd < 0.04:
        path = random.choice(["../", "./", "/", "%2e%2e/", "%2f", "%00", "%ff", "%", "%2541"]) + path
    return f"{prefix}/{path}" + ("/" if odd > 0.9 else "") + ("?q=/orders" if 0.5 < odd < 0.6 else "")


@pytest.mark.parametrize("seed", range(3))
def test_a_gateway_and_the_guard_never_disagree(engine: str, seed: int, tmp_path: Path) -> None:
    """The same status for the same request, and the upstream saw exactly what was served."""
    chance = random.Random(seed)
    with JwksServer(audience=AUDIENCE) as server, RecordingUpstream() as upstream:
        text = generated_manifest(chance, server.url, upstream.url)
        for what in ({"sid": "gone"}, {"jti": "gone"}, {"client_id": "gone"}):
            server.issuer.revoke(**what)
        gateway = Running(engine, tmp_path, text).wait_until_ready()
        try:
            asyncio.run(compare(engine, chance, text, server, gateway))
            served = sum(1 for _ in upstream.seen)
        finally:
            gateway.stop()
    assert served > 20


async def compare(engine: str, chance: random.Random, text: str, server: JwksServer, gateway: Running) -> None:
    manifest = parse_manifest(filled(text), file="portero.toml")
    guards = GatewayGuards(manifest, {"FEED_SECRET": CLIENT_SECRET}, file="portero.toml")
    await guards.start()
    oracle = Authorizer(manifest, guards, None)
    prefix = "/v1" if "/v1" in text else ""
    named = re.findall(r'match = "(\S+) (/\S+)"', text)
    differences = []
    try:
        for name in [*TOKENS, *(["good"] * 150)]:
            good = {
                "aud": AUDIENCE,
                "scope": " ".join(chance.sample(SCOPES, chance.randint(1, 4))),
                "roles": chance.sample(ROLES, chance.randint(0, 2)) or None,
                "tenant": chance.choice(["acme", "other", ["acme", "x"], None]),
                "acr": chance.choice(["pwd", "phr", "none"]),
            }
            token = TOKENS[name](server, good)
            for _ in range(1 if name == "good" else 4):
                method, target = generated_request(chance, prefix, named)
                headers = {"authorization": f"Bearer {token}"} if name != "no token at all" else {}
                raw = [(key.encode(), value.encode()) for key, value in headers.items()]
                outcome = oracle.answer(Request(method, target.encode(), raw))
                expected = outcome if isinstance(outcome, Answer) else await outcome
                said = await asyncio.to_thread(gateway.request, method, target, headers=headers)
                if said.status != expected.status and not (engine == "envoy" and name in ONLY_THE_ISSUER):
                    differences.append((name, method, target, "guard", expected.status, engine, said.status))
    finally:
        await guards.aclose()
    assert differences == [], text
