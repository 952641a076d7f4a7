"""Tokens that are bound to a key or a certificate, at the Guard (RFC 9449 §7, RFC 8705 §3)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from portero.core.errors import ConfigurationError, Unavailable
from portero.core.jose import base64url
from portero.core.oauth.dpop import issue_nonce
from portero.core.policy.credentials import token_of
from portero.core.policy.refusal import Case
from portero.core.types import NumericDate, Secret
from portero.resource_server import CertificateEncoding, ClientCertificate, DpopPolicy, Guard, Principal, Refusal
from portero.resource_server.sender import RequestSeen, SeenProofs, raw_path_of
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.proofs import DpopKey
from portero.testing.tokens import AUDIENCE

DER = b"a certificate"
X5T = base64url.encode(hashlib.sha256(DER).digest())
CERTIFICATE = f":{base64.b64encode(DER).decode()}:"
OTHER_CERTIFICATE = f":{base64.b64encode(b'another').decode()}:"
NONCE_KEY = Secret(b"k" * 32)
URL = "https://shop.test/api"


class Service:
    """A Guard and the requests it sees."""

    def __init__(self, issuer: InMemoryIssuer, **options: Any) -> None:
        self.guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=issuer.clock, **options)
        issuer.trust_in(self.guard)

    def admit(
        self,
        headers: dict[str, str],
        *,
        memo: dict[str, Any] | None = None,
        method: str = "GET",
        path: str = "/orders",
        **what: Any,
    ) -> Principal | Refusal:
        lower = {name.lower(): value for name, value in headers.items()}
        in_header = token_of([(name.encode(), value.encode()) for name, value in lower.items()])
        seen = RequestSeen(header=lower.get, method=method, path=path, memo={} if memo is None else memo)
        requirement = self.guard.requires(**what)
        presented = self.guard.presented(in_header, seen, requirement)
        if isinstance(presented, Refusal):
            return presented
        return self.guard.admit(presented.token, requirement, presented.sender)


@pytest.fixture
def by_key(issuer: InMemoryIssuer) -> Service:
    return Service(issuer, dpop=DpopPolicy(urls=[URL, "http://orders.internal"], nonce_key=None))


@pytest.fixture
def by_certificate(issuer: InMemoryIssuer) -> Service:
    return Service(issuer, client_certificate=ClientCertificate("client-cert", CertificateEncoding.RFC9440))


def case_of(outcome: Principal | Refusal) -> Case | None:
    return outcome.case if isinstance(outcome, Refusal) else None


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


# ── DPoP ─────────────────────────────────────────────────────────────────────────────


def test_a_guard_without_a_policy_accepts_no_bound_token(issuer: InMemoryIssuer) -> None:
    """Absent configuration never means unchecked."""
    key = DpopKey()
    token = issuer.mint(cnf=key.cnf)
    service = Service(issuer)

    assert case_of(service.admit(bearer(token))) is Case.INVALID_TOKEN
    assert case_of(service.admit(key.headers(token, "GET", f"{URL}/orders"))) is Case.INVALID_TOKEN


@pytest.mark.parametrize("url", [URL, "http://orders.internal"])
def test_the_principal_says_that_possession_was_proven(url: str, by_key: Service, issuer: InMemoryIssuer) -> None:
    """By each of the addresses clients know the service by."""
    key = DpopKey()
    outcome = by_key.admit(key.headers(issuer.mint(cnf=key.cnf), "GET", f"{url}/orders"), dpop=True)

    assert isinstance(outcome, Principal)
    assert (outcome.sender_constraint_proven, outcome.cnf_jkt) == (True, key.thumbprint)


def test_a_route_that_requires_a_proof_refuses_an_unbound_token(by_key: Service, issuer: InMemoryIssuer) -> None:
    """The token is good, and anybody could have it."""
    assert case_of(by_key.admit(bearer(issuer.mint()), dpop=True)) is Case.INVALID_PROOF
    assert isinstance(by_key.admit(bearer(issuer.mint())), Principal)


def test_one_request_may_be_checked_twice_and_two_requests_may_not(by_key: Service, issuer: InMemoryIssuer) -> None:
    """A middleware and a decorator see the same request; a replay is another one."""
    key = DpopKey()
    headers = key.headers(issuer.mint(cnf=key.cnf), "GET", f"{URL}/orders")
    request: dict[str, Any] = {}
    assert isinstance(by_key.admit(headers, memo=request), Principal)

    assert isinstance(by_key.admit(headers, memo=request, scopes=["orders:read"]), Principal)
    assert case_of(by_key.admit(headers)) is Case.INVALID_PROOF


def test_a_proof_that_was_accepted_does_not_vouch_for_another_token(by_key: Service, issuer: InMemoryIssuer) -> None:
    """Within one request, too: the memo names the token."""
    key = DpopKey()
    first, second = issuer.mint(cnf=key.cnf), issuer.mint(cnf=key.cnf)
    headers = key.headers(first, "GET", f"{URL}/orders")
    request: dict[str, Any] = {}
    assert isinstance(by_key.admit(headers, memo=request), Principal)

    swapped = {**headers, "Authorization": f"DPoP {second}"}
    assert case_of(by_key.admit(swapped, memo=request)) is Case.INVALID_PROOF


def test_the_path_is_compared_as_rfc_3986_normalizes_it(by_key: Service, issuer: InMemoryIssuer) -> None:
    """RFC 9449 §4.3 item 9: another spelling is the same path, another path is not."""
    key = DpopKey()

    def asked(htu_path: str, path: str) -> Case | None:
        token = issuer.mint(cnf=key.cnf)
        return case_of(by_key.admit(key.headers(token, "GET", URL + htu_path), path=path))

    assert asked("/caf%c3%a9/%7Eme", "/caf%C3%A9/~me") is None
    assert asked("/a%2fb", "/a/b") is Case.INVALID_PROOF
    assert asked("/orders/", "/orders") is Case.INVALID_PROOF


@pytest.mark.parametrize(("seconds", "admitted"), [(120, True), (121, False)])
def test_without_nonces_a_proof_lives_as_long_as_its_time(
    seconds: int, admitted: bool, by_key: Service, issuer: InMemoryIssuer, clock: FakeClock
) -> None:
    """A minute, and the leeway."""
    key = DpopKey()
    headers = key.headers(issuer.mint(cnf=key.cnf, exp=2**33), "GET", f"{URL}/orders", clock=issuer.clock)

    clock.advance(seconds)

    assert isinstance(by_key.admit(headers), Principal) == admitted


def test_a_nonce_of_another_service_does_not_count(issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """And the answer says which would."""
    service = Service(issuer, dpop=DpopPolicy(urls=[URL], nonce_key=NONCE_KEY))
    key = DpopKey()
    now = NumericDate(int(clock.now()))
    token = issuer.mint(cnf=key.cnf)
    theirs = issue_nonce(Secret(b"x" * 32), now=now)

    refused = service.admit(key.headers(token, "GET", f"{URL}/orders", nonce=theirs))

    assert isinstance(refused, Refusal)
    assert (refused.case, refused.nonce) == (Case.NONCE_WANTED, issue_nonce(NONCE_KEY, now=now))
    assert isinstance(service.admit(key.headers(token, "GET", f"{URL}/orders", nonce=refused.nonce)), Principal)


def test_a_revoked_session_is_refused_with_its_proof_too(issuer: InMemoryIssuer) -> None:
    """What the feed says is asked of bound tokens as of all others, remembered ones included."""
    from tests.resource_server.conftest import FEED

    service = Service(issuer, dpop=DpopPolicy(urls=[URL], nonce_key=None))
    guard = service.guard = Guard(
        issuers=[issuer.url], audience=AUDIENCE, revocation=FEED, clock=issuer.clock, dpop=service.guard.senders.dpop
    )
    issuer.trust_in(guard)
    key = DpopKey()
    token = issuer.mint(sid="s1", cnf=key.cnf)
    assert isinstance(service.admit(key.headers(token, "GET", f"{URL}/orders")), Principal)

    issuer.revoke(sid="s1")
    issuer.trust_in(guard)

    assert case_of(service.admit(key.headers(token, "GET", f"{URL}/orders"))) is Case.INVALID_TOKEN


def test_proofs_that_cannot_be_remembered_are_not_accepted(issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """503, ours: forgetting one would let it be used again."""
    service = Service(issuer, dpop=DpopPolicy(urls=[URL], nonce_key=None, max_proofs=1))
    key = DpopKey()
    token = issuer.mint(cnf=key.cnf, exp=2**33)
    assert isinstance(service.admit(key.headers(token, "GET", f"{URL}/orders", clock=clock)), Principal)

    assert case_of(service.admit(key.headers(token, "GET", f"{URL}/orders", clock=clock))) is Case.UNAVAILABLE
    clock.advance(300)
    issuer.trust_in(service.guard)
    assert isinstance(service.admit(key.headers(token, "GET", f"{URL}/orders", clock=clock)), Principal)


def test_seen_proofs_are_forgotten_when_they_expire_and_not_before() -> None:
    """Both sides of the limit."""
    seen = SeenProofs(2)
    assert seen.first_use(b"a", expires=10, now=0)

    assert not seen.first_use(b"a", expires=20, now=9.9)
    assert seen.first_use(b"a", expires=20, now=10)
    assert seen.first_use(b"b", expires=20, now=10)
    with pytest.raises(Unavailable):
        seen.first_use(b"c", expires=20, now=10)


# ── certificates ─────────────────────────────────────────────────────────────────────


def test_a_token_bound_to_a_certificate_needs_that_certificate(by_certificate: Service, issuer: InMemoryIssuer) -> None:
    """RFC 8705 §3: by the Bearer scheme, over a connection with the client's certificate."""
    token = issuer.mint(cnf={"x5t#S256": X5T})

    admitted = by_certificate.admit(bearer(token, **{"client-cert": CERTIFICATE}), mtls=True)
    assert isinstance(admitted, Principal)
    assert (admitted.sender_constraint_proven, admitted.cnf_x5t_s256) == (True, X5T)
    for headers in (bearer(token), bearer(token, **{"client-cert": OTHER_CERTIFICATE})):
        assert case_of(by_certificate.admit(headers)) is Case.INVALID_TOKEN


def test_a_certificate_counts_for_nothing_where_none_is_configured(by_key: Service, issuer: InMemoryIssuer) -> None:
    """A header anybody can send."""
    token = issuer.mint(cnf={"x5t#S256": X5T})

    assert case_of(by_key.admit(bearer(token, **{"client-cert": CERTIFICATE}))) is Case.INVALID_TOKEN


def test_one_proof_does_not_stand_for_the_other(issuer: InMemoryIssuer) -> None:
    """A route asks for a key or for a certificate; a token bound to both needs both."""
    service = Service(
        issuer, dpop=DpopPolicy(urls=[URL], nonce_key=None), client_certificate=ClientCertificate("client-cert")
    )
    key = DpopKey()
    certified = bearer(issuer.mint(cnf={"x5t#S256": X5T}), **{"client-cert": CERTIFICATE})
    both = issuer.mint(cnf={"x5t#S256": X5T, **key.cnf})

    def proven(token: str) -> dict[str, str]:
        return key.headers(token, "GET", f"{URL}/orders")

    assert case_of(service.admit(certified, dpop=True)) is Case.INVALID_PROOF
    assert case_of(service.admit(proven(issuer.mint(cnf=key.cnf)), mtls=True)) is Case.INVALID_TOKEN
    assert case_of(service.admit(proven(both))) is Case.INVALID_TOKEN
    assert case_of(service.admit(bearer(both, **{"client-cert": CERTIFICATE}))) is Case.INVALID_TOKEN
    assert isinstance(service.admit({**proven(both), "client-cert": CERTIFICATE}, dpop=True, mtls=True), Principal)


def test_an_unbound_token_needs_no_certificate(by_certificate: Service, issuer: InMemoryIssuer) -> None:
    """Unless the route says so."""
    assert isinstance(by_certificate.admit(bearer(issuer.mint())), Principal)
    assert case_of(by_certificate.admit(bearer(issuer.mint()), mtls=True)) is Case.INVALID_TOKEN


# ── configuration ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("what", ["dpop", "mtls"])
def test_a_requirement_nobody_could_check_is_refused_at_start(what: str, guard: Guard) -> None:
    """Not at the first request."""
    with pytest.raises(ConfigurationError) as caught:
        guard.requires(**{what: True})  # type: ignore[misc]

    assert caught.value.setting == what


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": []},
        {"urls": "https://shop.test"},
        {"urls": ["shop.test"]},
        {"urls": ["https://shop.test/?a=b"]},
        {"nonce_key": Secret(b"short")},
        {"max_proofs": 0},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(changes: dict[str, Any]) -> None:
    """With the setting's name."""
    with pytest.raises(ConfigurationError):
        DpopPolicy(**{"urls": [URL], "nonce_key": NONCE_KEY, **changes})


def test_a_server_that_keeps_no_raw_path_has_it_encoded_again() -> None:
    """So that the proof of a usual path fits; a path that cannot be told apart does not."""
    assert raw_path_of(None, "/café/a b") == "/caf%C3%A9/a%20b"
    assert raw_path_of(b"/a%2Fb?c=d", "/a/b") == "/a%2Fb"
