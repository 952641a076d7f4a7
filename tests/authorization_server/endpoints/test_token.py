"""The token endpoint over ASGI: grants, refusals, CORS, and what it does when the store is away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.core.events import EventName
from portero.core.jose.jwk_set import render_jwk_set
from portero.core.transitions import ClientKey, RefreshProfile, SessionKey
from tests.authorization_server.back_channel import (
    ATTEMPT,
    AUDIENCE,
    BFF,
    GUARD,
    ISSUER,
    ORIGIN,
    POST_CLIENT,
    SECRET,
    SPA,
    BackChannel,
    assertion,
    basic,
    claims_of,
    proof,
)

# ── authorization_code ───────────────────────────────────────────────────────────────


def test_a_code_gives_an_access_token_as_the_profile_says(server: BackChannel) -> None:
    """The access token carries the claims of RFC 9068 §2.2 and design §3.1, and nothing is stored for it."""
    tokens = server.signed_in()

    claims = claims_of(tokens["access_token"])
    assert claims["iss"] == ISSUER
    assert claims["aud"] == AUDIENCE
    assert claims["sub"] == "ana"
    assert claims["client_id"] == "spa"
    assert claims["scope"] == "openid profile email orders:read"
    assert claims["roles"] == ["customer"]
    assert claims["acr"] == "pwd"
    assert claims["amr"] == ["pwd"]
    assert claims["exp"] - claims["iat"] == 300 == tokens["expires_in"]
    assert {"sid", "jti", "auth_time"} <= set(claims)
    assert tokens["token_type"] == "Bearer"


def test_a_code_answer_says_how_long_everything_lasts(server: BackChannel) -> None:
    """The answer names the seconds left of token, refresh token and session (design §3.2)."""
    tokens = server.signed_in()

    assert tokens["refresh_after"] == 240
    assert tokens["refresh_token_expires_in"] == 7 * 86400  # the idle end comes before the token's own
    assert tokens["session_expires_in"] == 30 * 86400
    assert tokens["scope"] == "openid profile email orders:read"


def test_an_id_token_comes_with_openid_and_names_the_sign_in(server: BackChannel) -> None:
    """OIDC Core §2, §3.1.3.3: aud is the client, nonce the request's, at_hash binds the access token."""
    tokens = server.signed_in()

    claims = claims_of(tokens["id_token"])
    assert claims["aud"] == "spa"
    assert claims["nonce"] == "n-0S6"
    assert claims["sid"] == claims_of(tokens["access_token"])["sid"]
    assert "at_hash" in claims


def test_no_id_token_without_openid(server: BackChannel) -> None:
    """OIDC Core §3.1.2.1: without the scope openid it is plain OAuth."""
    form = {**server.exchange_form(SPA, scope=("orders:read",)), "client_id": "spa"}
    seen = server.post("/token", form)

    assert "id_token" not in seen.json


def test_a_token_answer_is_never_stored(server: BackChannel) -> None:
    """RFC 6749 §5.1."""
    seen = server.post("/token", {**server.exchange_form(SPA), "client_id": "spa"})

    assert seen.header("cache-control") == "no-store"
    assert seen.header("content-type") == "application/json"


def test_a_code_used_twice_ends_what_the_first_use_opened(server: BackChannel) -> None:
    """RFC 6749 §4.1.2, and the end is committed although the answer is an error."""
    form = {**server.exchange_form(SPA), "client_id": "spa"}
    first = server.post("/token", form)
    second = server.post("/token", form)
    after = server.refresh(first.json["refresh_token"])

    assert (second.status, second.json["error"], second.json["error_reason"]) == (400, "invalid_grant", "reused")
    assert (after.status, after.json["error"]) == (400, "invalid_grant")
    assert EventName.CODE_REUSED in {event.name for event in server.telemetry.events}


def test_a_code_needs_its_verifier(server: BackChannel) -> None:
    """RFC 7636 §4.6."""
    wrong = "b" * 43
    seen = server.post("/token", {**server.exchange_form(SPA), "client_id": "spa", "code_verifier": wrong})

    assert (seen.status, seen.json["error"]) == (400, "invalid_grant")


# ── refresh_token ────────────────────────────────────────────────────────────────────


def test_a_refresh_rotates_and_keeps_the_session(server: BackChannel) -> None:
    """Design §3.2: HEAD, rotation due."""
    before = server.signed_in()
    after = server.refresh(before["refresh_token"])

    assert after.status == 200
    assert after.json["refresh_token"] != before["refresh_token"]
    assert claims_of(after.json["access_token"])["sid"] == claims_of(before["access_token"])["sid"]
    assert "nonce" not in claims_of(after.json["id_token"])


def test_the_same_attempt_gets_the_same_successor(server: BackChannel) -> None:
    """A lost response signs nobody out: the retry gets the successor that was made."""
    token = server.signed_in()["refresh_token"]
    first = server.refresh(token)
    server.clock.advance(3600)
    second = server.refresh(token)

    assert second.json["refresh_token"] == first.json["refresh_token"]


@pytest.mark.parametrize("attempt", ["A" * 21, "A" * 23, "A" * 21 + "=", "A" * 21 + "+", "A" * 20 + "ñ"])
def test_an_attempt_of_another_form_changes_nothing(server: BackChannel, attempt: str) -> None:
    """22 base64url characters, else invalid_request, and the token is as good as before."""
    token = server.signed_in()["refresh_token"]
    refused = server.refresh(token, attempt=attempt)
    after = server.refresh(token)

    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    assert after.status == 200


def test_a_client_of_attempts_must_send_one(server: BackChannel) -> None:
    """Profile B without an attempt is invalid_request, never treated as C."""
    token = server.signed_in()["refresh_token"]
    refused = server.refresh(token, attempt=None)

    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    assert server.refresh(token).status == 200


def test_a_stolen_token_used_late_ends_the_session_with_its_reason(server: BackChannel) -> None:
    """Reuse: `reused` is told, and the head is dead too."""
    token = server.signed_in()["refresh_token"]
    head = server.refresh(token).json["refresh_token"]
    server.clock.advance(11)
    thief = server.refresh(token, attempt="B" * 22)
    honest = server.refresh(head, attempt="C" * 22)

    assert (thief.status, thief.json["error"], thief.json["error_reason"]) == (400, "invalid_grant", "reused")
    assert (honest.json["error"], honest.json["error_reason"]) == ("invalid_grant", "reused")


@pytest.mark.parametrize("invented", ["prt1.x.y", "{}A", "x{}", "{}{}{}{}", "prt1." + "A" * 71 + "." + "A" * 22])
def test_an_invented_token_is_refused_without_a_reason(server: BackChannel, invented: str) -> None:
    """A reason is told only when the tag is authentic, and nobody's session ends."""
    token = server.signed_in()["refresh_token"]
    refused = server.refresh(invented.replace("{}", token))

    assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
    assert "error_reason" not in refused.json
    assert server.refresh(token).status == 200


def test_a_refresh_is_one_transition_and_reads_no_client(server: BackChannel) -> None:
    """The hot path: the client is known from a moment ago, the keys too, and one transition is all."""
    token = server.signed_in()["refresh_token"]
    reads, transitions = server.store.reads, server.store.transitions
    seen = server.refresh(token)

    assert seen.status == 200
    assert (server.store.reads - reads, server.store.transitions - transitions) == (0, 1)


def test_a_disabled_client_is_refused_within_a_second(server: BackChannel) -> None:
    """The memory of clients is one second long (decision 0041)."""
    token = server.signed_in()["refresh_token"]
    server.put(ClientKey(SPA.client_id), replace(SPA, enabled=False))
    server.clock.advance(1)
    refused = server.refresh(token)

    assert (refused.status, refused.json["error"]) == (401, "invalid_client")


def test_a_store_that_is_away_is_503_and_never_invalid_grant(server: BackChannel) -> None:
    """Our own failure is not the caller's fault (design §2, invariant 8), and service resumes without a restart."""
    token = server.signed_in()["refresh_token"]
    server.store.away = True
    away = server.refresh(token, origin=ORIGIN)
    server.store.away = False
    back = server.refresh(token)

    assert (away.status, away.header("retry-after")) == (503, "7")
    assert away.json["error"] == "temporarily_unavailable"
    assert back.status == 200


def test_a_refresh_notes_the_place_of_the_person_s_own_device_only(server: BackChannel) -> None:
    """Coarse, and never that of a confidential client's machine."""
    public = server.signed_in()
    server.refresh(public["refresh_token"])
    form = server.exchange_form(BFF)
    confidential = server.post("/token", form, authorization=basic(BFF.client_id, SECRET)).json
    refresh = {"grant_type": "refresh_token", "refresh_token": confidential["refresh_token"]}
    server.post("/token", refresh, authorization=basic(BFF.client_id, SECRET))
    sids = [claims_of(tokens["access_token"])["sid"] for tokens in (public, confidential)]
    sessions = [server.run(server.store.read(SessionKey(sid))).session for sid in sids]

    assert [session.place for session in sessions] == ["192.0.0.0/16", ""]


def test_a_plain_client_needs_no_attempt(server: BackChannel) -> None:
    """Profile C, where it is configured."""
    server.put(ClientKey(SPA.client_id), replace(SPA, refresh_profile=RefreshProfile.PLAIN))
    server.clock.advance(1)
    seen = server.refresh(server.signed_in()["refresh_token"], attempt=None)

    assert seen.status == 200


# ── client_credentials ───────────────────────────────────────────────────────────────


def test_a_client_acts_for_itself(server: BackChannel) -> None:
    """RFC 6749 §4.4, RFC 9068 §2.2: sub is the client; no session, no refresh token, no ID token."""
    seen = server.post("/token", {"grant_type": "client_credentials"}, authorization=basic("guard", SECRET))

    claims = claims_of(seen.json["access_token"])
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("guard", "guard", ISSUER)
    assert not {"refresh_token", "id_token", "refresh_token_expires_in", "session_expires_in"} & set(seen.json)
    assert "sid" not in claims


def test_a_client_gets_no_more_scope_than_registered(server: BackChannel) -> None:
    """RFC 6749 §5.2."""
    form = {"grant_type": "client_credentials", "scope": "orders:write"}
    seen = server.post("/token", form, authorization=basic("guard", SECRET))

    assert (seen.status, seen.json["error"]) == (400, "invalid_scope")


def test_a_resource_of_somebody_else_is_invalid_target(server: BackChannel) -> None:
    """RFC 8707 §2."""
    form = {"grant_type": "client_credentials", "resource": "https://elsewhere.example"}
    seen = server.post("/token", form, authorization=basic("guard", SECRET))

    assert (seen.status, seen.json["error"]) == (400, "invalid_target")


# ── client authentication ────────────────────────────────────────────────────────────


def test_unknown_client_and_wrong_secret_look_the_same(server: BackChannel) -> None:
    """RFC 6749 §5.2: one answer, with a challenge because Basic was tried."""
    form = {"grant_type": "client_credentials"}
    unknown = server.post("/token", form, authorization=basic("nobody", SECRET))
    wrong = server.post("/token", form, authorization=basic("guard", "wrong"))

    assert (unknown.status, unknown.body) == (wrong.status, wrong.body)
    assert wrong.status == 401
    assert wrong.header("www-authenticate") == unknown.header("www-authenticate") is not None


def test_no_challenge_where_basic_was_not_tried(server: BackChannel) -> None:
    """A browser would open a password window otherwise."""
    form = {"grant_type": "client_credentials", "client_id": "post", "client_secret": "wrong"}
    seen = server.post("/token", form)

    assert (seen.status, seen.json["error"], seen.header("www-authenticate")) == (401, "invalid_client", None)


def test_the_registered_method_only(server: BackChannel) -> None:
    """A client registered for Basic is not let in by post, with the right secret."""
    form = {"grant_type": "client_credentials", "client_id": "guard", "client_secret": SECRET}
    seen = server.post("/token", form)

    assert (seen.status, seen.json["error"]) == (401, "invalid_client")


def test_two_methods_in_one_request_are_refused(server: BackChannel) -> None:
    """RFC 6749 §2.3."""
    form = {"grant_type": "client_credentials", "client_secret": SECRET}
    seen = server.post("/token", form, authorization=basic("guard", SECRET))

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_post_works_for_who_is_registered_for_it(server: BackChannel) -> None:
    """RFC 6749 §2.3.1, by the body."""
    form = {**server.exchange_form(POST_CLIENT), "client_id": "post", "client_secret": SECRET}
    seen = server.post("/token", form)

    assert seen.status == 200


def test_basic_decodes_each_part(server: BackChannel) -> None:
    """RFC 6749 §2.3.1: identifiers with a colon and secrets with percent signs survive."""
    seen = server.post("/token", server.exchange_form(BFF), authorization=basic(BFF.client_id, SECRET))

    assert seen.status == 200


def test_an_assertion_is_used_once(server: BackChannel) -> None:
    """RFC 7523 §3, item 7: the second use of a jti is invalid_client."""
    key = generate_private_key("ES256")
    client = replace(
        GUARD,
        token_endpoint_auth_method="private_key_jwt",
        secret_digest=None,
        jwks=render_jwk_set([key.public]).decode(),
    )
    server.put(ClientKey(client.client_id), client)
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(key, client, now=server.now()),
    }
    first, second = server.post("/token", form), server.post("/token", form)

    assert first.status == 200
    assert (second.status, second.json["error"]) == (401, "invalid_client")


# ── DPoP ─────────────────────────────────────────────────────────────────────────────


def test_dpop_binds_the_family_and_the_access_token(server: BackChannel) -> None:
    """RFC 9449 §5, §8: a nonce is demanded, then token_type is DPoP, cnf.jkt is the key, and only the key refreshes."""
    key = generate_private_key("ES256")
    form = {**server.exchange_form(SPA), "client_id": "spa"}
    asked = server.post("/token", form, dpop=proof(key, now=server.now()))
    nonce = asked.header("dpop-nonce")
    tokens = server.post("/token", form, dpop=proof(key, now=server.now(), nonce=nonce, jti="2")).json
    without = server.refresh(tokens["refresh_token"])
    other = generate_private_key("ES256")
    foreign = server.refresh(tokens["refresh_token"], dpop=proof(other, now=server.now(), nonce=nonce, jti="3"))
    right = server.refresh(
        tokens["refresh_token"], attempt=None, dpop=proof(key, now=server.now(), nonce=nonce, jti="4")
    )

    assert (asked.status, asked.json["error"]) == (400, "use_dpop_nonce")
    assert tokens["token_type"] == "DPoP"
    assert claims_of(tokens["access_token"])["cnf"] == {"jkt": key.public.thumbprint}
    assert (without.status, without.json["error"]) == (400, "invalid_grant")
    assert (foreign.status, foreign.json["error"]) == (400, "invalid_grant")
    assert right.status == 200
    assert right.header("dpop-nonce") is not None


def test_a_proof_is_used_once(server: BackChannel) -> None:
    """RFC 9449 §11.1."""
    key = generate_private_key("ES256")
    form = {**server.exchange_form(SPA), "client_id": "spa"}
    nonce = server.post("/token", form, dpop=proof(key, now=server.now())).header("dpop-nonce")
    used = proof(key, now=server.now(), nonce=nonce)
    first = server.post("/token", form, dpop=used)
    second = server.refresh(first.json["refresh_token"], dpop=used)

    assert first.status == 200
    assert (second.status, second.json["error"]) == (400, "invalid_dpop_proof")


def test_two_proofs_are_refused(server: BackChannel) -> None:
    """RFC 9449 §4.3, item 1: not more than one DPoP header."""
    key = generate_private_key("ES256")
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("dpop", proof(key, now=server.now())),
        ("dpop", proof(key, now=server.now())),
    ]
    seen = server.request(
        "POST", "/token", headers=headers, body=b"grant_type=refresh_token&client_id=spa&refresh_token=x"
    )

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


# ── CORS ─────────────────────────────────────────────────────────────────────────────


def test_a_preflight_from_a_registered_origin_is_allowed(server: BackChannel) -> None:
    """Design §3.5: preflights are answered before authentication."""
    seen = server.request("OPTIONS", "/token", headers={"origin": ORIGIN, "access-control-request-method": "POST"})

    assert seen.status == 204
    assert seen.header("access-control-allow-origin") == ORIGIN
    assert "POST" in (seen.header("access-control-allow-methods") or "")
    assert "DPoP" in (seen.header("access-control-allow-headers") or "")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil.example", ORIGIN.upper()])
def test_a_preflight_from_elsewhere_is_not(server: BackChannel, origin: str) -> None:
    """An origin is compared whole and exactly."""
    seen = server.request("OPTIONS", "/token", headers={"origin": origin, "access-control-request-method": "POST"})

    assert seen.header("access-control-allow-origin") is None


def test_a_disabled_client_s_origin_is_registered_no_more(server: BackChannel) -> None:
    """The origins are those of clients that may ask."""
    server.put(ClientKey(SPA.client_id), replace(SPA, enabled=False))
    seen = server.request("OPTIONS", "/token", headers={"origin": ORIGIN})

    assert seen.header("access-control-allow-origin") is None


def test_tokens_are_readable_by_the_client_s_own_origins_only(server: BackChannel) -> None:
    """Another client's registered origin reads refusals, never tokens."""
    own = server.post("/token", {**server.exchange_form(SPA), "client_id": "spa"}, origin=ORIGIN)
    other = server.post("/token", {**server.exchange_form(SPA), "client_id": "spa"}, origin="https://other.example")

    assert own.header("access-control-allow-origin") == ORIGIN
    assert other.header("access-control-allow-origin") is None
    assert own.header("vary") == "Origin"


def test_a_refusal_is_readable_with_what_a_client_can_act_on(server: BackChannel) -> None:
    """Without CORS on refusals a browser sees a network error, and no refresh ever starts."""
    seen = server.refresh("prt1.x.y", origin=ORIGIN)

    assert seen.header("access-control-allow-origin") == ORIGIN
    exposed = seen.header("access-control-expose-headers") or ""
    assert {"WWW-Authenticate", "Retry-After", "Date", "DPoP-Nonce"} == set(exposed.split(", "))


# ── nonsense ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_client"),
        (b"grant_type=password&client_id=spa", "unsupported_grant_type"),
        (b"client_id=spa", "invalid_request"),
        (b"grant_type=refresh_token&client_id=spa", "invalid_request"),
        (b"grant_type=refresh_token&grant_type=refresh_token&client_id=spa", "invalid_request"),
        (b"grant_type=authorization_code&client_id=spa&code=x&code_verifier=short", "invalid_request"),
        (b"grant_type=%ff&client_id=spa", "invalid_request"),
        (b"\x00\xff\xfe", "invalid_request"),
        (b"{}", "invalid_client"),
        (b"grant_type=authorization_code&client_id=spa&code=x", "invalid_grant"),
        (b"grant_type=client_credentials&client_id=spa", "unauthorized_client"),
    ],
)
def test_nonsense_gets_the_registered_error(server: BackChannel, body: bytes, error: str) -> None:
    """RFC 6749 §5.2, and never a 5xx."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    seen = server.request("POST", "/token", headers=headers, body=body)

    assert seen.json["error"] == error
    assert seen.status == (401 if error == "invalid_client" else 400)


@pytest.mark.parametrize("content_type", [None, "application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_only_forms_are_read(server: BackChannel, content_type: str | None) -> None:
    """RFC 6749 §4.1.3: the "application/x-www-form-urlencoded" format."""
    headers = {} if content_type is None else {"content-type": content_type}
    seen = server.request("POST", "/token", headers=headers, body=b"grant_type=refresh_token&client_id=spa")

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_parameters_in_the_url_are_refused(server: BackChannel) -> None:
    """A secret in a URL ends in a log."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    seen = server.request("POST", "/token?client_id=spa", headers=headers, body=b"grant_type=refresh_token")

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413(server: BackChannel) -> None:
    """64 KB, both sides."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    at = server.request("POST", "/token", headers=headers, body=b"x=" + b"a" * (64 * 1024 - 2))
    past = server.request("POST", "/token", headers=headers, body=b"x=" + b"a" * (64 * 1024 - 1))

    assert at.status == 401
    assert past.status == 413


def test_an_announced_body_that_is_too_large_is_not_read(server: BackChannel) -> None:
    """`Content-Length` is believed when it says too much."""
    seen = server.request("POST", "/token", headers={"content-length": str(64 * 1024 + 1)})

    assert seen.status == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "TRACE"])
def test_other_methods_are_405_with_allow(server: BackChannel, method: str) -> None:
    """RFC 9110 §15.5.6."""
    seen = server.request(method, "/token")

    assert (seen.status, seen.header("allow")) == (405, "OPTIONS, POST")


def test_nothing_secret_is_logged(server: BackChannel, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal's log line has the path and the reason, never what was sent."""
    caplog.set_level("DEBUG")
    token = server.signed_in()["refresh_token"]
    server.refresh(token, attempt=None)
    server.refresh(token + "x", attempt=ATTEMPT)

    assert "refused" in caplog.text
    assert token not in caplog.text
    assert ATTEMPT not in caplog.text
