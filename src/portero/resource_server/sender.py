"""Who sends a request: proofs of possession for tokens that are bound to a key or a certificate.

DPoP (RFC 9449 §7) and certificate-bound tokens (RFC 8705 §3). A bound token is never served
without its proof; a Guard that was told nothing here refuses it. Replays are noticed per
process; across processes and replicas the nonce bounds them (decision 0170).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from portero.core.errors import ConfigurationError, RequestError, Unavailable
from portero.core.oauth.dpop import PROOF_ALGORITHMS, VerifiedProof, issue_nonce, verify_proof
from portero.core.policy.client_certificate import ClientCertificate
from portero.core.policy.cookie_credential import HeaderOf
from portero.core.policy.credentials import DPOP_SCHEME, token_of_dpop
from portero.core.policy.path import PLAIN
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Case, Refusal, unavailable
from portero.core.types import NumericDate, Secret

SENDER = "portero.sender"
"""Where a request keeps its `Sender`, so that a second check of the same request sees no replay."""
NONCE = "portero.dpop_nonce"
"""Where a request keeps the nonce its answer shall bring."""
TOKEN = "portero.token"
"""Where a request keeps its token as a `Secret`, for calls in its caller's name."""
_SHORTEST_NONCE_KEY = 32


@dataclass(frozen=True, slots=True)
class DpopPolicy:
    """How a Guard checks DPoP proofs.

    Args:
        urls: what clients know this service by: origin and, behind a gateway, what stands before the paths that
            the application sees, such as `https://shop.example/api`. A proof's `htu` is compared with these
            and the request's path; nothing of it is taken from a `Host` header.
        nonce_key: at least 32 random bytes, the same in all processes of the service. `None`, written down:
            no nonces, so that a proof made ahead of time counts, too.
        max_proofs: how many proofs this process remembers; when they are used up, requests are refused
            with 503 rather than unchecked. A proof is remembered for five minutes at most.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    urls: Sequence[str]
    nonce_key: Secret[bytes] | None
    max_proofs: int = 500_000

    def __post_init__(self) -> None:
        if isinstance(self.urls, str) or not self.urls:
            raise ConfigurationError("dpop.urls", self.urls, "must be a list of at least one URL")
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise ConfigurationError("dpop.urls", url, "must be URLs such as https://shop.example/api")
        if self.nonce_key is not None and len(self.nonce_key.reveal()) < _SHORTEST_NONCE_KEY:
            raise ConfigurationError(
                "dpop.nonce_key", "(shorter)", f"must be at least {_SHORTEST_NONCE_KEY} random bytes"
            )
        if self.max_proofs < 1:
            raise ConfigurationError("dpop.max_proofs", self.max_proofs, "must be at least 1")


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """What an adapter shows of a request."""

    header: HeaderOf
    method: str
    path: str
    """Undecoded."""
    memo: MutableMapping[str, Any]
    """Lives as long as the request: the scope, the environ."""
    query: bytes = b""
    certificate: Callable[[], str | bytes | None] = lambda: None
    """The PEM of the client's certificate, where the service's own server knows it."""


@dataclass(slots=True, eq=False)
class Sender:
    """What one request says about its sender. Belongs to that request alone."""

    by_dpop: bool
    proof: str | None
    method: str
    path: str
    thumbprint: str | None
    """Of the client's certificate."""
    memo: MutableMapping[str, Any]
    proven_for: bytes | None = None
    """Digest of the token whose proof was accepted in this request."""


class Presented(NamedTuple):
    """A token as it came, and what it came with: `None` where that need not be looked at."""

    token: bytes
    sender: Sender | None


class SenderConstraint:
    """A Guard's part that checks proofs; without policies it accepts no bound token."""

    def __init__(self, dpop: DpopPolicy | None, certificate: ClientCertificate | None, *, leeway: int) -> None:
        self.dpop = dpop
        self.certificate = certificate
        self.algorithms = PROOF_ALGORITHMS if dpop is not None else ()
        self._bases = () if dpop is None else tuple(url.rstrip("/") for url in dpop.urls)
        self._leeway = leeway
        self._seen = SeenProofs(1 if dpop is None else dpop.max_proofs)

    @property
    def asks(self) -> bool:
        """Whether anything is configured at all."""
        return self.dpop is not None or self.certificate is not None

    def token_in(self, in_header: bytes | Refusal, request: RequestSeen) -> tuple[bytes | Refusal, bool]:
        """The token, and whether it came by the DPoP scheme where that is accepted."""
        if in_header is not DPOP_SCHEME or self.dpop is None:
            return in_header, False
        authorization = (request.header("authorization") or "").encode("latin-1", "replace")
        return token_of_dpop(authorization, request.query), True

    def sender_of(self, request: RequestSeen, *, by_dpop: bool) -> Sender | None:
        """What the request says about its sender; the same object each time it is asked about one request."""
        if not by_dpop and self.certificate is None:
            return None
        known = request.memo.get(SENDER)
        if isinstance(known, Sender) and known.by_dpop is by_dpop:
            return known
        thumbprint = None
        if self.certificate is not None:
            thumbprint = self.certificate.thumbprint_of(request.header, request.certificate())
        sender = Sender(by_dpop, request.header("dpop"), request.method, request.path, thumbprint, request.memo)
        request.memo[SENDER] = sender
        return sender

    def refusal_of(
        self, sender: Sender, principal: Principal, token: bytes, digest: bytes, *, now: float
    ) -> Refusal | None:
        """Check that who sends the request may use the token; `None`: all is proven."""
        if principal.cnf_x5t_s256 is not None and principal.cnf_x5t_s256 != sender.thumbprint:
            return NOT_THE_CERTIFICATE
        if principal.cnf_jkt is None:
            # RFC 9449 §7.1: the scheme says that the token is bound, and this one is not.
            return NOT_BOUND if sender.by_dpop else None
        if not sender.by_dpop:
            # §7.2: a token that is bound to a key is no bearer token.
            return NO_PROOF
        if sender.proven_for == digest:
            return None
        return self._check_proof(sender, principal.cnf_jkt, token, digest, now=NumericDate(int(now)))

    def about(self, refusal: Refusal, sender: Sender, *, now: float) -> Refusal:
        """Challenge a request of the DPoP scheme in that scheme, with a nonce where it may need one."""
        if not sender.by_dpop:
            return refusal
        nonce = None
        if refusal.case in {Case.NONCE_WANTED, Case.INVALID_PROOF}:
            nonce = self._nonce(NumericDate(int(now)))
        return replace(refusal, by_dpop=True, nonce=nonce)

    def _check_proof(
        self, sender: Sender, jkt: str, token: bytes, digest: bytes, *, now: NumericDate
    ) -> Refusal | None:
        policy = self.dpop
        if policy is None or sender.proof is None:
            return PROOF_WANTED
        try:
            verified = verify_proof(
                sender.proof,
                htm=sender.method,
                htu=[base + sender.path for base in self._bases],
                now=now,
                leeway=self._leeway,
                nonce_key=policy.nonce_key,
                expected_ath=Secret(token.decode("ascii")),
            )
        except RequestError as error:
            case = Case.NONCE_WANTED if error.error == "use_dpop_nonce" else Case.INVALID_PROOF
            return Refusal(case, error.description, detail=error.detail)
        if verified.jkt != jkt:
            return Refusal(Case.INVALID_TOKEN, "The token is bound to another key.", fault="sender_constraint")
        return self._first_use(sender, verified, digest, now=now)

    def _first_use(self, sender: Sender, verified: VerifiedProof, digest: bytes, *, now: NumericDate) -> Refusal | None:
        mark = verified.replay
        try:
            first = self._seen.first_use(mark.digest, expires=mark.expires, now=now)
        except Unavailable as error:
            return unavailable(error)
        if not first:
            return Refusal(Case.INVALID_PROOF, "The DPoP proof was used before.", fault="replay")
        sender.proven_for = digest
        if verified.renew_nonce:
            sender.memo[NONCE] = self._nonce(now)
        return None

    def _nonce(self, now: NumericDate) -> str | None:
        if self.dpop is None or self.dpop.nonce_key is None:
            return None
        return issue_nonce(self.dpop.nonce_key, now=now)


class SeenProofs:
    """The proofs this process has seen and that could still be accepted. Bounded; any thread."""

    __slots__ = ("_lock", "_max", "_order", "_seen")

    def __init__(self, max_proofs: int) -> None:
        self._max = max_proofs
        self._seen: set[bytes] = set()
        self._order: deque[tuple[float, bytes]] = deque()
        self._lock = threading.Lock()

    def first_use(self, digest: bytes, *, expires: float, now: float) -> bool:
        """Remember a proof; False where it is remembered already.

        Args:
            digest: of the proof's key and `jti`.
            expires: NumericDate until which it could be accepted; never earlier than that of the one before.

        Raises:
            Unavailable: there is no room to remember it.
        """
        with self._lock:
            while self._order and self._order[0][0] <= now:
                self._seen.discard(self._order.popleft()[1])
            if digest in self._seen:
                return False
            if len(self._seen) >= self._max:
                raise Unavailable("more DPoP proofs than dpop.max_proofs are remembered", retry_after=10)
            self._seen.add(digest)
            self._order.append((expires, digest))
            return True


def raw_path_of(raw: bytes | str | None, decoded: str) -> str:
    """The undecoded path, without query; where a server keeps none, the decoded one is encoded again.

    Args:
        raw: as the server keeps it, a query behind it or not.
        decoded: the path in Unicode.
    """
    if not raw:
        return quote(decoded, safe="/" + PLAIN + ";")
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return text.partition("?")[0]


NO_PROOF = Refusal(
    Case.INVALID_TOKEN, "The token is bound to a key, and this request does not prove it.", fault="sender_constraint"
)
NOT_BOUND = Refusal(Case.INVALID_TOKEN, "The token is not bound to a key.", fault="sender_constraint")
NOT_THE_CERTIFICATE = Refusal(
    Case.INVALID_TOKEN, "The token is bound to another client certificate.", fault="sender_constraint"
)
PROOF_WANTED = Refusal(Case.INVALID_PROOF, "The request needs one DPoP proof.")
