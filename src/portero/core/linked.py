"""Who, elsewhere, is which person here: an identity that another party vouches for, linked to one account.

An account is found by what the other party calls the person, and by nothing the person could choose there: never by
an e-mail address or a name. A link is made when the account is made from it, or by the person while signed in here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from portero.core.types import Digest, NumericDate, Subject


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """One identity elsewhere, of one person here."""

    provider: str
    """Who vouches: `clave_fiscal`, or an issuer's URL."""
    external: str
    """What that party calls the person: a CUIT, or an OpenID `sub`."""
    subject: Subject
    label: str
    """What the person recognizes it by."""
    linked: NumericDate

    @property
    def id_digest(self) -> Digest:
        """What it is stored under."""
        return linked_digest(self.provider, self.external)


def linked_digest(provider: str, external: str) -> Digest:
    """One name for a party and a person there; the length keeps two pairs with the same letters apart."""
    name = provider.encode(errors="surrogatepass")
    return Digest(hashlib.sha256(b"%d\x00%b%b" % (len(name), name, external.encode(errors="surrogatepass"))).digest())
