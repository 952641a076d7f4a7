"""What one issuer has taken back, as an exact set with constant-time lookups.

One `RevokedSet` per issuer: an entry of issuer A can never concern a token of issuer B.
Looked up by ids from a verified token, never by token bytes (ECDSA signatures are
malleable). Nothing is forgotten before its `until`, not even when the issuer's database
was restored and no longer knows about it.

Safe to read from any thread while one thread writes (each step is a single dict operation).
"""

from __future__ import annotations

from collections.abc import Iterable

from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.snapshot import Fields
from portero.core.types import Issuer, NumericDate


class RevokedSet:
    """The live revocations of `issuer`. `version` grows with each one that is new."""

    __slots__ = ("_buckets", "_by_kind", "_clients", "_jtis", "_kids", "_sids", "issuer", "pruned_to", "version")

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.version = 0
        self.pruned_to = NumericDate(0)
        self._sids: dict[str, int] = {}
        self._jtis: dict[str, int] = {}
        self._clients: dict[str, int] = {}
        self._kids: dict[str, int] = {}
        self._by_kind = {
            RevokedKind.SESSION: self._sids,
            RevokedKind.TOKEN: self._jtis,
            RevokedKind.CLIENT: self._clients,
            RevokedKind.KEY: self._kids,
        }
        # What ends in one second, so that forgetting costs only what it forgets.
        self._buckets: dict[RevokedKind, dict[int, list[str]]] = {kind: {} for kind in RevokedKind}

    def __len__(self) -> int:
        return len(self._sids) + len(self._jtis) + len(self._clients) + len(self._kids)

    def names(self, *, sid: str | None, jti: str, client_id: str, kid: str | None) -> bool:
        """Whether a token with these ids was taken back."""
        return sid in self._sids or jti in self._jtis or client_id in self._clients or kid in self._kids

    def names_key(self, kid: str) -> bool:
        """Whether the signing key was taken back."""
        return kid in self._kids

    def values(self, kind: RevokedKind) -> list[str]:
        """Everything of one kind that was taken back. A copy: entries may come while it is read."""
        return list(self._by_kind[kind])

    def add(self, revocation: Revocation) -> bool:
        """Take in one revocation; a second time changes nothing. Answers whether it changed anything.

        A revocation of another issuer is not ours to believe and is left out.
        """
        if revocation.iss != self.issuer or revocation.until < self.pruned_to:
            return False
        named = self._by_kind[revocation.kind]
        known_until = named.get(revocation.value)
        if known_until is not None and known_until >= revocation.until:
            return False
        named[revocation.value] = revocation.until
        self._buckets[revocation.kind].setdefault(revocation.until, []).append(revocation.value)
        if known_until is None:
            self.version += 1
        return True

    def fill(self, entries: Iterable[Fields], *, now: NumericDate) -> None:
        """Take in a whole snapshot where nothing is known yet: all of it, or nothing where an entry is none.

        Args:
            entries: as `snapshot.fields_of` checked them.
            now: what ended before is left out.
        """
        buckets: dict[RevokedKind, dict[int, list[str]]] = {kind: {} for kind in RevokedKind}
        for iss, kind, value, _, until in entries:
            if iss == self.issuer and until >= now:
                buckets[kind].setdefault(until, []).append(value)
        for kind, by_second in buckets.items():
            named, known = self._by_kind[kind], self._buckets[kind]
            # The later of two ends counts; one number for all that end together.
            for second in sorted(by_second):
                known.setdefault(second, []).extend(by_second[second])
                named.update(dict.fromkeys(by_second[second], second))
        self.pruned_to = max(self.pruned_to, now)
        self.version += 1

    def prune(self, now: NumericDate) -> None:
        """Forget what ended before `now`: the last token it concerned has expired everywhere."""
        if now <= self.pruned_to:
            return
        for kind, buckets in self._buckets.items():
            named = self._by_kind[kind]
            for second in [second for second in buckets if second < now]:
                for value in buckets.pop(second):
                    # It may have been extended meanwhile; then a later bucket has it.
                    if named.get(value) == second:
                        del named[value]
        self.pruned_to = now
