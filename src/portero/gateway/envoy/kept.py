"""Revocations kept fresh in Envoy's files: a sign-out is one small file, whatever the number of those before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.subscription_set import RevokedSet
from portero.gateway.envoy.configuration import revoked_file
from portero.gateway.envoy.delivery import Delivery
from portero.gateway.envoy.revoked import KINDS, filter_name

_MOST_RECENT: Final = 256
"""Entries of `recent` after which all are written into `base` once more."""

Names = dict[RevokedKind, set[str]]
Reloads = Callable[[str], Awaitable[int]]
"""How often Envoy has loaded the filter of that name."""


class KeptRevocations:
    """One issuer's revocations.

    Args:
        revoked: what the subscription knows.
        place: the issuer's, in the manifest.
        delivery: where files go.
        reloads: asks Envoy.
    """

    def __init__(self, revoked: RevokedSet | None, place: int, delivery: Delivery, reloads: Reloads) -> None:
        self._revoked = revoked
        self._place = place
        self._delivery = delivery
        self._reloads = reloads
        self._base: Names = _none()
        self._recent: Names = _none()
        self._loading: tuple[Names, int] | None = None
        """A base that was written and that Envoy may not have loaded, and how often it had loaded one before."""

    @property
    def recent(self) -> int:
        """How many are not in the base."""
        return sum(map(len, self._recent.values()))

    def write_all(self) -> None:
        """Write both files, for an Envoy that is not running yet."""
        self._base, self._recent, self._loading = self._known(), _none(), None
        self._deliver("base", self._base)
        self._deliver("recent", self._recent)

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Take in what came; `write` delivers it."""
        for revocation in revocations:
            named = self._recent.get(revocation.kind)
            if named is not None and revocation.value not in self._base[revocation.kind]:
                named.add(revocation.value)

    def write(self) -> None:
        """Write what came since the base."""
        self._deliver("recent", self._recent)

    async def tidy(self) -> None:
        """Move what is recent into the base, where it has become much. Nothing leaves `recent` before Envoy has it."""
        name = filter_name(self._place, "base")
        if self._loading is not None:
            base, before = self._loading
            if await self._reloads(name) > before:
                self._base, self._loading = base, None
                self._recent = {kind: names - base[kind] for kind, names in self._recent.items()}
                self._deliver("recent", self._recent)
            return
        size = sum(map(len, self._base.values()))
        known = 0 if self._revoked is None else len(self._revoked)
        if self.recent > max(_MOST_RECENT, size // 20) or size > 2 * known + 1024:
            before = await self._reloads(name)
            base = self._known()
            if self._deliver("base", base):
                self._loading = (base, before)

    def _known(self) -> Names:
        revoked = self._revoked
        return _none() if revoked is None else {kind: set(revoked.values(kind)) for kind in KINDS}

    def _deliver(self, generation: str, names: Names) -> bool:
        name, content = revoked_file(self._place, generation, {kind: sorted(one) for kind, one in names.items()})
        return bool(self._delivery.deliver({name: content}))


def _none() -> Names:
    return {kind: set() for kind in KINDS}
