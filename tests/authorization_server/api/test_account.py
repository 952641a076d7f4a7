"""`/api/account`: a person's own sessions, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.consent import Consent
from portero.core.digests import sha256_of
from portero.core.sessions.records import DeviceSession, EndReason
from portero.core.transitions import AuditKey, ClientKey, ConsentKey, SessionKey, SubjectKey
from portero.core.types import ClientId, NumericDate, Secret, Sid, Subject
from tests.authorization_server.api.conftest import ACCOUNT_PAGE, BRUNO, Api, sid_of
from tests.authorization_server.back_channel import ANA, AUDIENCE, GUARD, ISSUER, ORIGIN


def test_a_session_is_listed_with_what_a_person_recognizes_it_by(api: Api) -> None:
    """Name, application, when it began, its last refresh, where, and whether it is this one."""
    api.signed_in(place="203.0.0.0/16", device_name="Chrome · Windows")
    api.server.clock.advance(60)
    token = api.signed_in()

    mine, other = api.sessions(token)

    assert (mine["sid"], mine["current"], other["current"]) == (sid_of(token), True, False)
    assert (other["name"], other["place"]) == ("Chrome · Windows", "203.0.0.0/16")
    assert (other["client_id"], other["client_name"]) == ("page", "Shop")
    assert other["created"] < mine["created"] <= mine["last_seen"] < mine["idle_end"] < mine["absolute_end"]
    assert all(mine[name].endswith("Z") for name in ("created", "last_seen", "idle_end", "absolute_end"))


def test_nobody_sees_another_persons_sessions(api: Api) -> None:
    """The list is the token's own subject's."""
    ana = api.signed_in()
    bruno = api.signed_in(subject=BRUNO.subject)

    assert [each["sid"] for each in api.sessions(ana)] == [sid_of(ana)]
    assert [each["sid"] for each in api.sessions(bruno)] == [sid_of(bruno)]


def test_a_session_is_renamed_and_the_name_made_fit_to_be_shown(api: Api) -> None:
    """One line of printable characters."""
    token = api.signed_in()
    seen = api.ask("PATCH", f"/api/account/sessions/{sid_of(token)}", token=token, json={"name": " Ana's\tphone "})

    assert (seen.status, seen.json["name"]) == (200, "Ana's phone")
    assert [each["name"] for each in api.sessions(token)] == ["Ana's phone"]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 61}, {"name": 1}, {"name": "a", "sid": "b"}])
def test_a_name_that_may_not_be_is_refused_as_a_problem(api: Api, body: object) -> None:
    """422, where and why; never what was sent."""
    token = api.signed_in()
    seen = api.ask("PATCH", f"/api/account/sessions/{sid_of(token)}", token=token, json=body)

    assert (seen.status, seen.header("content-type")) == (422, "application/problem+json")
    assert seen.json["detail"].startswith("body.")
    assert "x" * 61 not in seen.json["detail"]


@pytest.mark.parametrize("name", ["   ", "\u0000", "\u200b\u200b"])
def test_a_name_of_nothing_is_refused(api: Api, name: str) -> None:
    """A device without a name cannot be told from another."""
    token = api.signed_in()
    sid = sid_of(token)

    assert api.ask("PATCH", f"/api/account/sessions/{sid}", token=token, json={"name": name}).status == 422


def test_ending_one_session_leaves_the_others_alone(api: Api) -> None:
    """Its token stops working at once; the asker's goes on (design §1, step 12)."""
    lost, mine = api.signed_in(), api.signed_in()
    seen = api.ask("DELETE", f"/api/account/sessions/{sid_of(lost)}", token=mine)

    assert (seen.status, seen.body) == (204, b"")
    assert not api.works(lost)
    assert api.works(mine)
    assert api.ask("DELETE", f"/api/account/sessions/{sid_of(lost)}", token=mine).status == 404


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_another_persons_session_does_not_exist(api: Api, method: str) -> None:
    """404, the same as for a made-up one, and nothing happens to it."""
    ana, bruno = api.signed_in(), api.signed_in(subject=BRUNO.subject)
    answers = [
        api.ask(method, f"/api/account/sessions/{sid}", token=ana, json={"name": "mine"})
        for sid in (sid_of(bruno), "x")
    ]

    assert [seen.status for seen in answers] == [404, 404]
    assert answers[0].body == answers[1].body
    assert [each["name"] for each in api.sessions(bruno)] == ["Firefox · Linux"]


def test_ending_the_others_spares_this_browser(api: Api) -> None:
    """All applications of this browser stay, as on the account page; every other device is signed out."""
    second = replace(ACCOUNT_PAGE, client_id=ClientId("second"))
    api.server.put(ClientKey(second.client_id), second)
    elsewhere = api.signed_in()
    here, beside = api.signed_in(browser=b"here"), api.signed_in(second, browser=b"here")
    seen = api.ask("POST", "/api/account/sessions/end", token=here, json={"which": "others"})

    left = api.server.run(api.server.store.read(SubjectKey(ANA.subject)))

    assert (seen.status, seen.json) == (200, {"ended": 1})
    assert [api.works(token) for token in (elsewhere, here, beside)] == [False, True, True]
    assert [browser.id_digest for browser in left.browsers] == [sha256_of(Secret(b"here"))]


def test_a_session_past_its_idle_end_is_neither_listed_nor_named(api: Api) -> None:
    """Up to that second it is; both sides of the limit (design §3.2: seven days)."""
    idle = sid_of(api.signed_in())
    api.server.clock.advance(7 * 86400 - 1)
    token = api.signed_in()
    before = {each["sid"] for each in api.sessions(token)}
    api.server.clock.advance(1)
    after = {each["sid"] for each in api.sessions(token)}

    assert (idle in before, idle in after) == (True, False)
    assert api.ask("PATCH", f"/api/account/sessions/{idle}", token=token, json={"name": "x"}).status == 404


def test_ending_all_ends_this_one_too(api: Api) -> None:
    """Device sessions and browser sessions; another person's go on."""
    tokens = [api.signed_in(), api.signed_in()]
    bruno = api.signed_in(subject=BRUNO.subject)
    seen = api.ask("POST", "/api/account/sessions/end", token=tokens[0], json={"which": "all"})
    left = api.server.run(api.server.store.read(SubjectKey(ANA.subject)))

    assert (seen.status, seen.json) == (200, {"ended": 2})
    assert [api.works(token) for token in (*tokens, bruno)] == [False, False, True]
    assert left.browsers == ()


def test_an_end_is_in_the_audit_trail_with_its_reason(api: Api) -> None:
    """One row per session ended."""
    token = api.signed_in()
    api.ask("DELETE", f"/api/account/sessions/{sid_of(token)}", token=token)
    newest = api.server.run(api.server.store.read(AuditKey(subject=ANA.subject)))[0]

    assert (newest.sid, newest.fields["reason"]) == (sid_of(token), "device_ended")


# ── who may ask ──────────────────────────────────────────────────────────────────────


def test_without_a_token_there_is_a_challenge_and_no_error(api: Api) -> None:
    """RFC 6750 §3.1; a cookie opens nothing (decision 0090)."""
    seen = api.ask("GET", "/api/account/sessions", cookie="portero_session=" + "x" * 43)

    assert (seen.status, seen.header("www-authenticate")) == (401, 'Bearer realm="portero"')
    assert seen.header("content-type") == "application/problem+json"


def test_a_token_for_another_audience_opens_nothing(api: Api) -> None:
    """A service that was handed a token cannot turn to its owner's account with it (RFC 9068 §4)."""
    both = replace(ACCOUNT_PAGE, client_id=ClientId("both"), audiences=(AUDIENCE, ISSUER))
    api.server.put(ClientKey(both.client_id), both)
    service, own = api.signed_in(both, resource=(AUDIENCE,)), api.signed_in(both, resource=(ISSUER,))

    assert (api.works(service), api.works(own)) == (False, True)


def test_a_token_without_the_scope_is_refused(api: Api) -> None:
    """403 and the challenge says why."""
    plain = replace(ACCOUNT_PAGE, client_id=ClientId("plain"), scope=("openid",))
    api.server.put(ClientKey(plain.client_id), plain)
    seen = api.ask("GET", "/api/account/sessions", token=api.signed_in(plain))

    assert seen.status == 403
    assert 'error="insufficient_scope"' in (seen.header("www-authenticate") or "")


def test_a_strangers_application_may_not_act_in_the_account(api: Api) -> None:
    """First-party clients only, whatever the person agreed to."""
    stranger = replace(ACCOUNT_PAGE, client_id=ClientId("stranger"), first_party=False)
    api.server.put(ClientKey(stranger.client_id), stranger)

    assert api.ask("GET", "/api/account/sessions", token=api.signed_in(stranger)).status == 403


def test_an_operators_token_is_nobodys_account(api: Api) -> None:
    """A token without a person has no sessions to show."""
    assert api.ask("GET", "/api/account/sessions", token=api.operator()).status == 403


def test_a_disabled_person_sees_nothing(api: Api) -> None:
    """Also with a token that has not expired."""
    token = api.signed_in()
    api.server.put(SubjectKey(ANA.subject), replace(ANA, enabled=False))

    assert api.ask("GET", "/api/account/sessions", token=token).status == 401


# ── browsers ─────────────────────────────────────────────────────────────────────────


def test_a_registered_origin_may_read_answers_and_refusals(api: Api) -> None:
    """And is told so before it asks; another origin is not (design §3.5)."""
    preflight = api.ask("OPTIONS", "/api/account/sessions/x", origin=ORIGIN, access_control_request_method="DELETE")
    refused = api.ask("GET", "/api/account/sessions", origin=ORIGIN)
    stranger = api.ask("GET", "/api/account/sessions", origin="https://evil.example")

    assert preflight.status == 204
    assert "DELETE" in (preflight.header("access-control-allow-methods") or "")
    assert refused.header("access-control-allow-origin") == ORIGIN
    assert "WWW-Authenticate" in (refused.header("access-control-expose-headers") or "")
    assert stranger.header("access-control-allow-origin") is None


def agreement(api: Api, *, subject: str = "ana") -> Consent:
    consent = Consent(Subject(subject), GUARD.client_id, ("openid", "orders:read"), (), api.server.now())
    api.server.put(ConsentKey(consent.subject, consent.client_id), consent)
    return consent


def test_what_was_allowed_is_listed_and_taken_back(api: Api) -> None:
    """With it ends what the application has; a second time there is none."""
    agreement(api)
    token = api.signed_in()
    now, end = api.server.now(), NumericDate(api.server.now() + 900)
    theirs = DeviceSession(Sid("theirs"), None, ANA.subject, GUARD.client_id, "x", "", now, now, now, end, end)
    api.server.put(SessionKey(theirs.sid), theirs)
    (listed,) = api.ask("GET", "/api/account/consents", token=token).json["consents"]
    path = f"/api/account/consents/{GUARD.client_id}"

    assert (listed["client_id"], listed["scope"]) == (GUARD.client_id, ["openid", "orders:read"])
    assert [api.ask("DELETE", path, token=token).status for _ in range(2)] == [204, 404]
    assert api.ask("GET", "/api/account/consents", token=token).json == {"consents": []}
    ended = api.server.run(api.server.store.read(SessionKey(theirs.sid))).session
    assert ended.end_reason is EndReason.CONSENT_WITHDRAWN
    assert api.works(token)


def test_another_persons_agreement_does_not_exist(api: Api) -> None:
    """Neither to see nor to take back."""
    consent = agreement(api, subject="bruno")
    token = api.signed_in()

    assert api.ask("GET", "/api/account/consents", token=token).json == {"consents": []}
    assert api.ask("DELETE", f"/api/account/consents/{GUARD.client_id}", token=token).status == 404
    assert api.server.run(api.server.store.read(ConsentKey(consent.subject, consent.client_id))) == consent
