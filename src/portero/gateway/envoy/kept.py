"""Revocations kept fresh in Envoy's files: a sign-out is one small file, whatever the number of those before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import orjson

from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.subscription_set import RevokedSet
from portero.gateway.envoy.configuration import revoked_file
from portero.gateway.envoy.delivery import Delivery
from portero.gateway.envoy.revoked import KINDS, filter_name, names_in

_MOST_RECENT: Final = 256
"""Entries of `recent` after which all are written into `base` once more."""

Names = dict[RevokedKind, set[str]]
Loaded = Callable[[str], Awaitable[str]]
"""Which version of the filter of that name Envoy has loaded."""


class KeptRevocations:
    """One issuer's revocations.

    Args:
        revoked: what the subscription knows.
        place: the issuer's, in the manifest.
        delivery: where files go.
        loaded: asks Envoy.
    """

    def __init__(self, revoked: RevokedSet | None, place: int, delivery: Delivery, loaded: Loaded) -> None:
        self._revoked = revoked
        self._place = place
        self._delivery = delivery
        self._loaded = loaded
        self._base: Names = _none()
        self._recent: Names = _none()
        self._loading: tuple[Names, str] | None = None
        """A base that was written and that Envoy may not have loaded, and its version."""

    @property
    def recent(self) -> int:
        """How many are not in the base."""
        return sum(map(len, self._recent.values()))

    def write_all(self) -> None:
        """Write all that is known into the base. What an Envoy has in `recent` stays there until it has the base."""
        self._recent = self._left_there("recent")
        known = self._known()
        if any(self._recent.values()):
            self._base = self._left_there("base")
            self._loading = known, self._deliver("base", known)
        else:
            self._base, self._loading = known, None
            self._deliver("base", known)
        self._deliver("recent", self._recent)

    def _left_there(self, generation: str) -> Names:
        file = self._delivery.delivered(f"{filter_name(self._place, generation)}.json")
        return _none() if file is None else names_in(orjson.loads(file)["resources"][0]["typed_config"])

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
            base, version = self._loading
            if await self._loaded(name) == version:
                self._base, self._loading = base, None
                self._recent = {kind: names - base[kind] for kind, names in self._recent.items()}
                self._deliver("recent", self._recent)
            return
        size = sum(map(len, self._base.values()))
        known = 0 if self._revoked is None else len(self._revoked)
        if self.recent > max(_MOST_RECENT, size // 20) or size > 2 * known + 1024:
            base = self._known()
            self._loading = base, self._deliver("base", base)

    def _known(self) -> Names:
        revoked = self._revoked
        return _none() if revoked is None else {kind: set(revoked.values(kind)) for kind in KINDS}

    def _deliver(self, generation: str, names: Names) -> str:
        """Answers the version that Envoy will tell of once it has loaded it."""
        sorted_names = {kind: sorted(one) for kind, one in names.items()}
        name, content, version = revoked_file(self._place, generation, sorted_names)
        self._delivery.deliver({name: content})
        return version


def _none() -> Names:
    return {kind: set() for kind in KINDS}
