"""A token that somebody took along: what binds it holds (RFC 9449, RFC 8705), whatever was served before."""

from __future__ import annotations

from portero.core.policy.refusal import Case
from portero.resource_server import ClientCertificate, DpopPolicy, Refusal
from portero.testing.issuer import InMemoryIssuer
from portero.testing.proofs import DpopKey
from tests.resource_server.test_sender import CERTIFICATE, URL, X5T, Service, bearer


def refused(outcome: object) -> bool:
    return isinstance(outcome, Refusal) and outcome.case is Case.INVALID_TOKEN


def test_a_cached_bound_token_is_not_found_by_who_only_has_the_token() -> None:
    """The cache keeps bound tokens under names a bearer request cannot ask for."""
    issuer = InMemoryIssuer()
    service = Service(issuer, dpop=DpopPolicy(urls=[URL], nonce_key=None))
    key = DpopKey()
    token = issuer.mint(cnf=key.cnf)
    assert not isinstance(service.admit(key.headers(token, "GET", f"{URL}/orders")), Refusal)

    assert refused(service.guard.admit(token.encode(), service.guard.requires()))
    assert refused(service.admit(bearer(token)))


def test_no_bytes_name_a_bound_token_but_its_own_with_its_proof() -> None:
    """Names are lengths apart: no token, however it is dressed up, hashes to where bound tokens are kept."""
    issuer = InMemoryIssuer()
    service = Service(issuer, client_certificate=ClientCertificate("client-cert"))
    token = issuer.mint(cnf={"x5t#S256": X5T})
    assert not isinstance(service.admit(bearer(token, **{"client-cert": CERTIFICATE})), Refusal)

    for dressed in (f"shown {token}", f"{token}shown", f"shown{token}", f"{token} shown"):
        assert refused(service.guard.admit(dressed.encode(), service.guard.requires()))
    assert {len(name) for name in service.guard._cache.young} == {32 + len("shown")}
