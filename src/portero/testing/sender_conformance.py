"""What every framework adapter promises about tokens that are bound to a key (RFC 9449 §7).

A part of `AdapterConformance`, which says what the service is and sends the requests.
"""

# ruff: noqa: S101 - a conformance suite asserts

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from portero.core.oauth.dpop import NONCE_SLOT, issue_nonce
from portero.core.types import NumericDate, Secret
from portero.resource_server import DpopPolicy
from portero.testing.issuer import InMemoryIssuer
from portero.testing.proofs import DpopKey

OUTSIDE = "https://shop.test/api"
"""What clients know the service by."""
NONCE_KEY = Secret(b"nonce key of the conformance test")
DPOP = DpopPolicy(urls=[OUTSIDE], nonce_key=NONCE_KEY)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names in lower case, repeated headers one by one."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]

    def one(self, name: str) -> str:
        """The value of a header that must be there once."""
        (value,) = self.all(name)
        return value


class SenderConformance:
    """The laws; `send`, `assert_refused` and `issuer` are `AdapterConformance`'s."""

    issuer: ClassVar[InMemoryIssuer]

    @classmethod
    def send(
        cls, method: str, path: str, *, token: str | None = None, headers: list[tuple[str, str]] | None = None
    ) -> Answer:
        """Send one request, headers exactly as given."""
        raise NotImplementedError

    def assert_refused(self, answer: Answer, status: int, error: str | None) -> None:
        """The status and error, and no handler reached."""
        raise NotImplementedError

    def nonce(self, *, slots_ago: int = 0) -> str:
        """A nonce of the service."""
        return issue_nonce(NONCE_KEY, now=NumericDate(int(self.issuer.clock.now()) - slots_ago * NONCE_SLOT))

    def by_dpop(self, key: DpopKey, token: str, path: str = "/orders", *, method: str = "GET", **more: Any) -> Answer:
        """Ask with a token of the DPoP scheme and a proof of `key`."""
        arguments = {"nonce": self.nonce(), "clock": self.issuer.clock, **more}
        headers = key.headers(token, method, OUTSIDE + path, **arguments)
        return self.send(method, path, headers=[*headers.items()])

    def test_a_bound_token_is_served_with_its_proof(self) -> None:
        """RFC 9449 §7.1; and again with the next proof, when the token is remembered."""
        key = DpopKey()
        token = self.issuer.mint(sub="bob", cnf=key.cnf)

        answers = [self.by_dpop(key, token), self.by_dpop(key, token)]

        assert [answer.status for answer in answers] == [200, 200]
        assert json.loads(answers[1].body)["sub"] == "bob"

    def test_a_bound_token_is_no_bearer_token(self) -> None:
        """RFC 9449 §7.2; not after it was served with its proof, either."""
        key = DpopKey()
        token = self.issuer.mint(cnf=key.cnf)

        before = self.send("GET", "/orders", token=token)
        self.assert_refused(before, 401, "invalid_token")
        assert self.by_dpop(key, token).status == 200
        self.setup_method()

        self.assert_refused(self.send("GET", "/orders", token=token), 401, "invalid_token")

    def test_a_token_that_is_not_bound_has_no_business_in_the_dpop_scheme(self) -> None:
        """RFC 9449 §7.1: the challenge is in the scheme that was used."""
        answer = self.by_dpop(DpopKey(), self.issuer.mint())

        self.assert_refused(answer, 401, "invalid_token")
        assert answer.one("www-authenticate").startswith("DPoP ")

    def test_a_proof_of_another_key_is_refused(self) -> None:
        """Who stole the token has not the key."""
        self.assert_refused(self.by_dpop(DpopKey(), self.issuer.mint(cnf=DpopKey().cnf)), 401, "invalid_token")

    def test_a_proof_counts_once(self) -> None:
        """RFC 9449 §11.1: whoever saw a request cannot send it again."""
        key = DpopKey()
        token = self.issuer.mint(cnf=key.cnf)
        seen = [*key.headers(token, "GET", f"{OUTSIDE}/orders", nonce=self.nonce(), clock=self.issuer.clock).items()]
        assert self.send("GET", "/orders", headers=seen).status == 200
        self.setup_method()

        self.assert_refused(self.send("GET", "/orders", headers=seen), 401, "invalid_dpop_proof")

    def test_each_bad_proof_is_refused_for_what_it_is(self) -> None:
        """Only the one thing that is wrong was changed (RFC 9449 §4.3)."""
        key = DpopKey()
        token = self.issuer.mint(cnf=key.cnf)
        now = int(self.issuer.clock.now())

        for bad in (
            {"htm": "POST"},
            {"htu": f"{OUTSIDE}/refund"},
            {"htu": "https://evil.test/orders"},
            {"ath": "another"},
            {"ath": None},
            {"iat": now - 3600},
            {"jti": None},
            {"header": {"typ": "JWT"}},
            {"header": {"alg": "none"}},
        ):
            changes = dict(bad)
            arguments = {"nonce": self.nonce(), "clock": self.issuer.clock}
            proof = key.proof(token, **{"htm": "GET", "htu": f"{OUTSIDE}/orders", **arguments, **changes})  # type: ignore[arg-type]
            answer = self.send("GET", "/orders", headers=[("Authorization", f"DPoP {token}"), ("DPoP", proof)])
            self.assert_refused(answer, 401, "invalid_dpop_proof")

    def test_a_request_without_a_proof_or_with_two_is_refused(self) -> None:
        """RFC 9449 §4.3 item 1."""
        key = DpopKey()
        token = self.issuer.mint(cnf=key.cnf)
        scheme = ("Authorization", f"DPoP {token}")
        proof = ("DPoP", key.proof(token, "GET", f"{OUTSIDE}/orders", nonce=self.nonce(), clock=self.issuer.clock))

        self.assert_refused(self.send("GET", "/orders", headers=[scheme]), 401, "invalid_dpop_proof")
        self.assert_refused(self.send("GET", "/orders", headers=[scheme, proof, proof]), 401, "invalid_dpop_proof")

    def test_a_proof_without_a_nonce_is_told_the_nonce(self) -> None:
        """RFC 9449 §9: and the next proof with it is accepted."""
        key = DpopKey()
        token = self.issuer.mint(cnf=key.cnf)

        refused = self.by_dpop(key, token, nonce=None)

        self.assert_refused(refused, 401, "use_dpop_nonce")
        assert self.by_dpop(key, token, nonce=refused.one("dpop-nonce")).status == 200

    def test_an_answer_renews_a_nonce_that_will_soon_be_over(self) -> None:
        """RFC 9449 §8.2: no request has to fail for the next nonce."""
        key = DpopKey()
        token = self.issuer.mint(cnf=key.cnf)
        for _ in range(3):
            slot = self._slot()
            answer = self.by_dpop(key, token, nonce=self.nonce(slots_ago=1))
            next_answer = self.by_dpop(key, token, nonce="".join(answer.all("dpop-nonce")))
            if slot == self._slot():
                break  # no minute ended meanwhile

        assert answer.all("dpop-nonce") == [self.nonce()]
        assert (next_answer.status, next_answer.all("dpop-nonce")) == (200, [])

    def test_without_a_token_both_schemes_are_offered(self) -> None:
        """RFC 9449 §7.1: with the algorithms of proofs."""
        challenge = ", ".join(self.send("GET", "/orders").all("www-authenticate"))

        assert "Bearer " in challenge
        assert "DPoP " in challenge
        assert "ES256" in challenge

    def _slot(self) -> int:
        return int(self.issuer.clock.now()) // NONCE_SLOT

    def setup_method(self) -> None:
        """Forget who was served before."""
        raise NotImplementedError
