"""Revocations in two files: nothing leaves the small one before Envoy says that it has the large one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.subscription_set import RevokedSet
from portero.core.types import Issuer, NumericDate
from portero.gateway.envoy.delivery import Delivery
from portero.gateway.envoy.kept import KeptRevocations
from portero.gateway.envoy.revoked import KINDS, names_in

ISSUER = Issuer("https://issuer.test")


def revocation(value: str, kind: RevokedKind = RevokedKind.SESSION) -> Revocation:
    return Revocation(ISSUER, kind, value, NumericDate(0), NumericDate(2_000_000_000))


class Kept:
    """A process that keeps revocations in a folder, beside an Envoy that loads the base when this says so."""

    def __init__(self, folder: Path, revoked: RevokedSet) -> None:
        self.folder = folder
        self.revoked = revoked
        self.loaded = ""
        self.kept = KeptRevocations(revoked, 0, Delivery(folder), self._version)

    async def _version(self, _: str) -> str:
        return self.loaded

    def add(self, *revocations: Revocation) -> None:
        for one in revocations:
            self.revoked.add(one)
        self.kept.add(revocations)
        self.kept.write()

    def tidy(self) -> None:
        asyncio.run(self.kept.tidy())

    def document(self, generation: str) -> dict[str, object]:
        name = f"portero.revoked.0.{generation}.json"
        document: dict[str, object] = orjson.loads((self.folder / name / name).read_bytes())
        return document

    def names(self, generation: str) -> set[str]:
        (resource,) = self.document(generation)["resources"]  # type: ignore[misc]
        found = names_in(resource["typed_config"])
        return {f"{kind.name}:{name}" for kind in KINDS for name in found[kind]}

    def envoy_loads(self) -> None:
        self.loaded = str(self.document("base")["version_info"])


def test_what_is_recent_stays_until_the_base_is_loaded(tmp_path: Path) -> None:
    """By the version Envoy tells of: its counters begin anew with each of its processes."""
    kept = Kept(tmp_path, RevokedSet(ISSUER))
    kept.kept.write_all()
    kept.envoy_loads()
    many = [revocation(f"sid-{number}") for number in range(300)]
    kept.add(*many, revocation("shop", RevokedKind.CLIENT))
    kept.tidy()
    kept.tidy()
    assert len(kept.names("base")) == len(kept.names("recent")) == 301
    kept.add(revocation("later"))

    kept.envoy_loads()
    kept.tidy()

    assert kept.names("recent") == {"SESSION:later"}
    assert {"SESSION:sid-0", "CLIENT:shop"} <= kept.names("base")


def test_another_process_takes_nothing_away_that_envoy_goes_by(tmp_path: Path) -> None:
    """A control plane that starts again beside an Envoy, and a manifest that is read again."""
    before = Kept(tmp_path, RevokedSet(ISSUER))
    before.kept.write_all()
    before.add(revocation("gone"), revocation("jti-1", RevokedKind.TOKEN))

    after = Kept(tmp_path, before.revoked)
    after.kept.write_all()
    assert after.names("recent") == after.names("base") == {"SESSION:gone", "TOKEN:jti-1"}
    after.add(revocation("new"))
    after.tidy()
    assert after.names("recent") == {"SESSION:gone", "TOKEN:jti-1", "SESSION:new"}

    after.envoy_loads()
    after.tidy()
    assert after.names("recent") == {"SESSION:new"}
