"""Metadata, keys, revocation, introspection and userinfo over ASGI."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.authorization_server.config import Config
from portero.authorization_server.key_ring import open_key_ring
from portero.core.jose import base64url
from portero.core.transitions import ClientKey, SubjectKey
from tests.authorization_server.back_channel import (
    ANA,
    AUDIENCE,
    BFF,
    ISSUER,
    ORIGIN,
    SECRET,
    SPA,
    BackChannel,
    basic,
    proof,
)

WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
BFF_BASIC = basic(BFF.client_id, SECRET)

# ── metadata and keys ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", WELL_KNOWN)
def test_metadata_is_public_and_names_the_issuer_exactly(server: BackChannel, path: str) -> None:
    """RFC 8414 §3.3: the issuer is compared character by character."""
    seen = server.get(path, origin="https://anybody.example")

    assert seen.status == 200
    assert seen.json["issuer"] == ISSUER
    assert seen.header("access-control-allow-origin") == "*"
    assert "max-age" in (seen.header("cache-control") or "")


def test_every_endpoint_metadata_announces_below_the_back_channel_answers(server: BackChannel) -> None:
    """What is announced is mounted: no 404 behind any of these URLs."""
    metadata = server.get(WELL_KNOWN[0]).json
    announced = ["token_endpoint", "revocation_endpoint", "introspection_endpoint", "userinfo_endpoint", "jwks_uri"]
    statuses = [server.get(metadata[name].removeprefix(ISSUER)).status for name in announced]

    assert 404 not in statuses


@pytest.mark.attack(row=1)
def test_metadata_announces_no_unsigned_and_no_symmetric_algorithm(server: BackChannel) -> None:
    """`none` and HS256 are nowhere offered."""
    metadata = server.get(WELL_KNOWN[0]).json
    offered = {alg for name, algs in metadata.items() if "alg" in name for alg in algs}

    assert not {"none", "HS256"} & offered
    assert metadata["id_token_signing_alg_values_supported"] == ["ES256"]


def test_head_is_get_without_the_body(server: BackChannel) -> None:
    """RFC 9110 §9.3.2."""
    seen = server.request("HEAD", "/jwks")

    assert (seen.status, seen.body) == (200, b"")
    assert int(seen.header("content-length") or 0) > 0


def test_the_key_set_verifies_what_is_signed_and_holds_nothing_private(server: BackChannel) -> None:
    """RFC 7517 §5."""
    keys = server.get("/jwks").json["keys"]

    assert [key["alg"] for key in keys] == ["ES256"]
    assert "d" not in keys[0]
    assert server.context.key_ring.verify_own(server.signed_in()["access_token"], typ="at+jwt")["sub"] == "ana"


def test_a_key_another_process_published_is_in_the_set_within_a_second(server: BackChannel) -> None:
    """And its tokens are ours: several servers on one database behave as one."""
    other = server.run(
        open_key_ring(
            replace(server.config, signing_algorithm="Ed25519"),
            store=server.store,
            secrets=server.secrets,
            clock=server.clock,
            random=server.random,
        )
    )
    server.clock.advance(1)
    keys = server.get("/jwks").json["keys"]
    metadata = server.get(WELL_KNOWN[0]).json

    assert [key["alg"] for key in keys] == ["ES256", "Ed25519"]
    assert metadata["id_token_signing_alg_values_supported"] == list(other.algorithms)


def test_the_key_set_s_age_is_well_within_the_time_a_key_is_published_ahead(server: BackChannel) -> None:
    """Whoever keeps the set for max-age knows every key before it signs."""
    cache_control = server.get("/jwks").header("cache-control")

    assert cache_control == "public, max-age=300"


# ── revoke ───────────────────────────────────────────────────────────────────────────


def test_any_generation_of_a_refresh_token_ends_the_device_session(server: BackChannel) -> None:
    """RFC 7009 §2.1, design §3.2: a spent one too; the access token is dead with it."""
    first = server.signed_in()
    second = server.refresh(first["refresh_token"]).json
    revoked = server.post("/revoke", {"token": first["refresh_token"], "client_id": "spa"}, origin=ORIGIN)
    after = server.refresh(second["refresh_token"])
    userinfo = server.get("/userinfo", authorization=f"Bearer {second['access_token']}")

    assert revoked.status == 200
    assert revoked.header("access-control-allow-origin") == ORIGIN
    assert (after.json["error"], after.json["error_reason"]) == ("invalid_grant", "revoked")
    assert userinfo.status == 401


def test_an_access_token_is_taken_back_alone(server: BackChannel) -> None:
    """The session goes on; the one token is dead."""
    tokens = server.signed_in()
    revoked = server.post("/revoke", {"token": tokens["access_token"], "client_id": "spa"})
    userinfo = server.get("/userinfo", authorization=f"Bearer {tokens['access_token']}")
    after = server.refresh(tokens["refresh_token"])

    assert revoked.status == 200
    assert userinfo.status == 401
    assert after.status == 200


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
def test_a_wrong_hint_changes_nothing(server: BackChannel, hint: str) -> None:
    """RFC 7009 §2.1: the search extends over all types."""
    tokens = server.signed_in()
    server.post("/revoke", {"token": tokens["refresh_token"], "client_id": "spa", "token_type_hint": hint})

    assert server.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_another_client_s_token_is_left_alone_and_the_answer_is_the_same(server: BackChannel) -> None:
    """A client ends only its own."""
    tokens = server.signed_in()
    for name in ("refresh_token", "access_token"):
        seen = server.post("/revoke", {"token": tokens[name]}, authorization=BFF_BASIC)
        assert (seen.status, seen.body) == (200, b"")

    assert server.get("/userinfo", authorization=f"Bearer {tokens['access_token']}").status == 200
    assert server.refresh(tokens["refresh_token"]).status == 200


@pytest.mark.parametrize("token", ["x", "prt1.x.y", "a.b.c", "prt1." + "A" * 71 + "." + "A" * 22])
def test_an_unknown_token_is_200(server: BackChannel, token: str) -> None:
    """RFC 7009 §2.2."""
    seen = server.post("/revoke", {"token": token, "client_id": "spa"})

    assert seen.status == 200


def test_revocation_needs_its_client_and_its_token(server: BackChannel) -> None:
    """RFC 7009 §2.1."""
    nobody = server.post("/revoke", {"token": "x"})
    nothing = server.post("/revoke", {"client_id": "spa"})

    assert (nobody.status, nobody.json["error"]) == (401, "invalid_client")
    assert (nothing.status, nothing.json["error"]) == (400, "invalid_request")


def test_a_store_that_is_away_is_no_success(server: BackChannel) -> None:
    """A 200 would tell the client that the session is over."""
    token = server.signed_in()["refresh_token"]
    server.store.away = True
    seen = server.post("/revoke", {"token": token, "client_id": "spa"})

    assert seen.status == 503


# ── introspect ───────────────────────────────────────────────────────────────────────


def test_an_active_token_is_described(server: BackChannel) -> None:
    """RFC 7662 §2.2; to a client that serves the token's audience."""
    token = server.signed_in()["access_token"]
    seen = server.post("/introspect", {"token": token}, authorization=BFF_BASIC)

    assert seen.json["active"] is True
    assert seen.json["sub"] == "ana"
    assert seen.json["aud"] == AUDIENCE
    assert seen.json["token_type"] == "Bearer"


def test_what_is_not_active_is_false_and_nothing_else(server: BackChannel) -> None:
    """RFC 7662 §2.2: the answer does not say why."""
    tokens = server.signed_in()
    server.post("/revoke", {"token": tokens["refresh_token"], "client_id": "spa"})
    fresh = server.signed_in()
    server.clock.advance(300)
    dead = [tokens["access_token"], fresh["access_token"], "x", "prt1.x.y", fresh["id_token"]]
    answers = [server.post("/introspect", {"token": token}, authorization=BFF_BASIC) for token in dead]

    assert [(seen.status, seen.json) for seen in answers] == [(200, {"active": False})] * 5


def test_a_token_is_active_until_just_before_exp(server: BackChannel) -> None:
    """Both sides of `exp`."""
    token = server.signed_in()["access_token"]
    server.clock.advance(299)
    before = server.post("/introspect", {"token": token}, authorization=BFF_BASIC)
    server.clock.advance(1)
    at = server.post("/introspect", {"token": token}, authorization=BFF_BASIC)

    assert (before.json["active"], at.json["active"]) == (True, False)


def test_a_token_taken_back_is_inactive_within_its_life(server: BackChannel) -> None:
    """RFC 7662 §4: revocation is looked at, not only `exp`; alone, and with its session."""
    alone, ended = server.signed_in(), server.signed_in()
    server.post("/revoke", {"token": alone["access_token"], "client_id": "spa"})
    first = server.post("/introspect", {"token": alone["access_token"]}, authorization=BFF_BASIC)
    live = server.post("/introspect", {"token": ended["access_token"]}, authorization=BFF_BASIC)
    server.post("/revoke", {"token": ended["refresh_token"], "client_id": "spa"})
    second = server.post("/introspect", {"token": ended["access_token"]}, authorization=BFF_BASIC)

    assert (first.json, live.json["active"], second.json) == ({"active": False}, True, {"active": False})


def test_a_public_client_may_not_introspect(server: BackChannel) -> None:
    """RFC 7662 §2.1: authorization is required; a client_id alone proves nothing."""
    token = server.signed_in()["access_token"]
    seen = server.post("/introspect", {"token": token, "client_id": "spa"})

    assert (seen.status, seen.json["error"]) == (401, "invalid_client")


def test_a_token_for_somebody_else_s_audience_is_inactive(server: BackChannel) -> None:
    """RFC 7662 §4: a service learns of the tokens meant for it."""
    token = server.signed_in()["access_token"]
    seen = server.post("/introspect", {"token": token}, authorization=basic("guard", SECRET))

    assert seen.json == {"active": False}


def test_only_the_head_of_a_family_is_an_active_refresh_token(server: BackChannel) -> None:
    """A spent generation is not active; the head is, for its own client."""
    form = server.exchange_form(BFF)
    head = server.post("/token", form, authorization=BFF_BASIC).json["refresh_token"]
    refresh = {"grant_type": "refresh_token", "refresh_token": head}
    successor = server.post("/token", refresh, authorization=BFF_BASIC).json["refresh_token"]
    spent = server.post("/introspect", {"token": head}, authorization=BFF_BASIC)
    active = server.post("/introspect", {"token": successor}, authorization=BFF_BASIC)

    assert spent.json == {"active": False}
    assert active.json["active"] is True


# ── userinfo ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_userinfo_says_what_the_scope_opens(server: BackChannel, method: str) -> None:
    """OIDC Core §5.3, §5.4."""
    token = server.signed_in()["access_token"]
    seen = server.request(method, "/userinfo", headers={"authorization": f"Bearer {token}", "origin": ORIGIN})

    assert seen.json == {
        "sub": "ana",
        "name": "Ana Ruiz",
        "preferred_username": "Ana",
        "email": "ana@example.org",
    }
    assert seen.header("access-control-allow-origin") == ORIGIN
    assert seen.header("cache-control") == "no-store"


def test_userinfo_keeps_what_the_scope_does_not_open(server: BackChannel) -> None:
    """OIDC Core §5.4."""
    form = {**server.exchange_form(SPA, scope=("openid",)), "client_id": "spa"}
    token = server.post("/token", form).json["access_token"]
    seen = server.get("/userinfo", authorization=f"Bearer {token}")

    assert seen.json == {"sub": "ana"}


def test_userinfo_without_a_token_is_challenged_without_an_error(server: BackChannel) -> None:
    """RFC 6750 §3.1."""
    seen = server.get("/userinfo", origin=ORIGIN)

    assert (seen.status, seen.header("www-authenticate")) == (401, 'Bearer realm="portero"')
    assert seen.header("access-control-allow-origin") == ORIGIN


@pytest.mark.attack(row=82)
def test_two_tokens_in_one_request_are_400(server: BackChannel) -> None:
    """Design §3.5: which of two a reader takes must not matter."""
    token = server.signed_in()["access_token"]
    headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    twice = server.request("GET", "/userinfo", headers=headers)
    joined = server.get("/userinfo", authorization=f"Bearer {token}, Bearer {token}")

    assert (twice.status, joined.status) == (400, 400)


def test_a_token_in_the_url_is_no_token(server: BackChannel) -> None:
    """RFC 6750 §2.3: URLs end in logs. Only userinfo reads a form's (§2.2)."""
    token = server.signed_in()["access_token"]
    in_url = server.get(f"/userinfo?access_token={token}")
    posted = server.request("POST", f"/userinfo?access_token={token}")
    feed = server.get(f"/revocations?access_token={token}")

    assert (in_url.status, posted.status, feed.status) == (401, 401, 401)


def test_userinfo_takes_the_token_of_a_form(server: BackChannel) -> None:
    """OIDC Core §5.3.1, RFC 6750 §2.2: in a POST's form; in form and header at once it is two tokens."""
    token = server.signed_in()["access_token"]
    seen = server.post("/userinfo", {"access_token": token})
    twice = server.post("/userinfo", {"access_token": token}, authorization=f"Bearer {token}")
    wrong = server.post("/userinfo", {"access_token": "x"})

    assert (seen.status, seen.json["sub"]) == (200, "ana")
    assert (twice.status, wrong.status) == (400, 401)


@pytest.mark.attack(row=31)
@pytest.mark.parametrize("name", ["id_token", "refresh_token"])
def test_other_tokens_of_ours_are_no_access_tokens(server: BackChannel, name: str) -> None:
    """RFC 8725 §3.11: told apart by `typ`."""
    token = server.signed_in()[name]
    seen = server.get("/userinfo", authorization=f"Bearer {token}")

    assert seen.status == 401
    assert 'error="invalid_token"' in (seen.header("www-authenticate") or "")


def test_userinfo_takes_a_token_until_just_before_exp(server: BackChannel) -> None:
    """Both sides of `exp`: at home there is no difference between two clocks to tolerate."""
    token = server.signed_in()["access_token"]
    server.clock.advance(299)
    before = server.get("/userinfo", authorization=f"Bearer {token}")
    server.clock.advance(1)
    at = server.get("/userinfo", authorization=f"Bearer {token}")

    assert (before.status, at.status) == (200, 401)


def test_a_bound_token_is_no_bearer_token(server: BackChannel) -> None:
    """RFC 9449 §7.2: downgrading a stolen bound token to Bearer opens nothing."""
    key = generate_private_key("ES256")
    form = {**server.exchange_form(SPA), "client_id": "spa"}
    nonce = server.post("/token", form, dpop=proof(key, now=server.now())).header("dpop-nonce")
    bound = server.post("/token", form, dpop=proof(key, now=server.now(), nonce=nonce, jti="2")).json["access_token"]
    seen = server.get("/userinfo", authorization=f"Bearer {bound}")

    assert (seen.status, seen.json["error"]) == (401, "invalid_token")


def test_userinfo_needs_openid(server: BackChannel) -> None:
    """RFC 6750 §3.1: insufficient_scope is 403."""
    form = {**server.exchange_form(SPA, scope=("orders:read",)), "client_id": "spa"}
    token = server.post("/token", form).json["access_token"]
    seen = server.get("/userinfo", authorization=f"Bearer {token}")

    assert (seen.status, seen.json["error"]) == (403, "insufficient_scope")


def test_a_disabled_person_and_a_disabled_client_open_nothing(server: BackChannel) -> None:
    """Both are looked at with each request."""
    token = server.signed_in()["access_token"]
    server.put(SubjectKey(ANA.subject), replace(ANA, enabled=False))
    person = server.get("/userinfo", authorization=f"Bearer {token}")
    server.put(SubjectKey(ANA.subject), ANA)
    server.put(ClientKey(SPA.client_id), replace(SPA, enabled=False))
    server.clock.advance(1)
    client = server.get("/userinfo", authorization=f"Bearer {token}")

    assert (person.status, client.status) == (401, 401)


@pytest.mark.attack(row=26)
def test_a_malleated_signature_does_not_bring_a_revoked_token_back(server: BackChannel) -> None:
    """Row 26: (r, n-s) is another text of the same token; what is revoked is its jti."""
    token = server.signed_in()["access_token"]
    head, _, signature = token.rpartition(".")
    raw = base64url.decode(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    flipped = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{head}.{base64url.encode(flipped)}"
    before = server.get("/userinfo", authorization=f"Bearer {twin}")
    server.post("/revoke", {"token": token, "client_id": "spa"})
    after = server.get("/userinfo", authorization=f"Bearer {twin}")

    assert twin != token
    assert (before.status, after.status) == (200, 401)


def test_an_operator_says_which_claims_a_scope_opens() -> None:
    """OIDC Core §5.4 names scopes of its own; others are configuration, and metadata announces what they open."""
    claims = {"profile": ("name",), "staff": ("roles",)}
    with asyncio.Runner() as runner:
        server = BackChannel(runner, Config(issuer=ISSUER, scope_claims=claims))
        server.put(SubjectKey(ANA.subject), replace(ANA, roles=("manager",)))
        form = server.exchange_form(SPA, scope=("openid", "profile", "email", "staff"))
        token = server.post("/token", {**form, "client_id": SPA.client_id}).json["access_token"]
        seen = server.get("/userinfo", authorization=f"Bearer {token}").json
        announced = server.get("/.well-known/openid-configuration").json["claims_supported"]

    assert seen == {"sub": "ana", "name": ANA.name, "roles": ["manager"]}
    assert {"name", "roles"} <= set(announced)
    assert not {"email", "locale"} & set(announced)
