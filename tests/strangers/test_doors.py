"""Every door in Chromium: signing in, acting for a company, linking and unlinking, and going astray.

`PORTERO_PICTURES=FOLDER` keeps a picture of each page, for somebody to look at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from portero.core.transitions import LinkedIdentitiesKey, LinkedKey, SubjectKey
from portero.core.types import Subject
from portero.testing.afip import Emulator, emulator_app
from portero.testing.afip.clave_fiscal import companies
from portero.testing.ports import free_port
from tests.strangers.acme import acme_client, acme_table
from tests.strangers.node import Stranger
from tests.strangers.world import PASSWORD, World, strange_world

CARLA, BRUNO = "20111111112", "27222222228"
ANA = Subject("u-ana")


@dataclass
class Seen:
    """What everybody did and saw, once in each language."""

    world: World
    acme: str
    laws: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def read(self, key: Any) -> Any:
        """What is stored afterwards."""
        return self.world.run(self.world.context.store.read(key))

    def urls(self, law: str) -> list[str]:
        """Where it led, without what names one sign-in."""
        return [said["url"].removeprefix(self.world.issuer).partition("?")[0] for said in self.laws[law]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One Chromium, one provider and one AFIP for all of it."""
    port = free_port()
    emulator = Emulator({"mi_servicio": ""})
    certificate = tmp_path_factory.mktemp("afip") / "afip.pem"
    certificate.write_bytes(emulator.certificate)
    afip = f"http://localhost:{port}"
    clave_fiscal = {
        "service": "mi_servicio",
        "login_url": f"{afip}/contribuyente_/login.xhtml?action=SYSTEM&system=mi_servicio",
        "sources": [{"src": emulator.src, "key_file": str(certificate), "algorithm": "RS1"}],
    }
    with pytest.MonkeyPatch.context() as patch, Stranger("provider.mjs", claims=[]) as provider:
        acme = provider.until("issuer")
        doors = {"password": {}, "openid": {"acme": acme_table(acme, patch)}, "clave_fiscal": clave_fiscal}
        with strange_world(sign_in=doors) as world:
            provider.tell([acme_client(world)])
            assert provider.until("ready")
            emulator.services["mi_servicio"] = f"{world.issuer}/sign-in/clave_fiscal/return"
            world.serve(emulator_app(emulator), port=port)
            world.person("ana")
            yield watched(Seen(world, acme), afip=afip)


def watched(seen: Seen, *, afip: str) -> Seen:
    """Run the browser to its end."""
    arguments = {
        "issuer": seen.world.issuer,
        "acme": seen.acme,
        "afip": afip,
        "username": "ana",
        "password": PASSWORD,
        "carla": CARLA,
        "bruno": BRUNO,
        "pictures": os.environ.get("PORTERO_PICTURES"),
    }
    with Stranger("doors.mjs", **arguments) as browser:
        for said in browser.all():
            if "law" in said:
                seen.laws.setdefault(said["law"], []).append(said)
            if "page" in said:
                seen.faults[said["page"]] = said["found"]
            if "done" in said:
                return seen
    raise AssertionError(f"the browser ended before its last page: {list(seen.laws)}")


@pytest.mark.parametrize("door", ["password", "openid", "clave_fiscal"])
def test_a_person_signs_in_by_each_door(seen: Seen, door: str) -> None:
    """And is at their account."""
    assert set(seen.urls(door)) == {"/account"}


def test_a_company_that_was_chosen_is_acted_for(seen: Seen) -> None:
    """Its CUIT stands beside the person's, in a claim of its own."""
    carla = seen.read(LinkedKey("clave_fiscal", CARLA))
    vouched = [json.loads(one.vouched)["claims"] for one in seen.read(SubjectKey(carla.subject)).browsers]

    assert vouched
    assert all(claims == {"cuit": CARLA, "represented_cuit": companies(1)[0]} for claims in vouched)


def test_what_is_linked_opens_the_account_until_it_is_unlinked(seen: Seen) -> None:
    """In another browser, by Clave Fiscal alone; that browser is signed out with the link, and nothing is left."""
    assert all("Ana" in said["name"] for said in seen.laws["linked"])
    assert all(said["signedOut"] for said in seen.laws["unlinked"])
    assert seen.read(LinkedIdentitiesKey(ANA)) == ()
    assert seen.read(LinkedKey("clave_fiscal", BRUNO)) is None
    assert seen.read(LinkedKey(seen.acme, "ana-at-acme")) is None


def test_what_began_elsewhere_signs_nobody_in(seen: Seen) -> None:
    """An answer in another browser opens nothing there, and still does where it began; nor does a forged form."""
    assert set(seen.urls("elsewhere")) == set(seen.urls("forged")) == {"/sign-in"}
    assert set(seen.urls("here")) == {"/account"}
    assert seen.read(LinkedKey(seen.acme, "hedy")) is None


def test_axe_finds_nothing_on_the_way(seen: Seen) -> None:
    """The doors, the choice, the links, every way astray, the emulator: WCAG 2.2 A and AA, none too wide."""
    assert {page: faults for page, faults in seen.faults.items() if faults} == {}
    assert len(seen.faults) == 22 * (2 if os.environ.get("PORTERO_PICTURES") else 1)
