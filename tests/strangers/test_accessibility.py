"""Every page in Chromium with axe-core: nothing to find, in both languages, light and dark, wide and narrow.

`PORTERO_PICTURES=FOLDER` keeps a picture of each page, for somebody to look at.
"""

from __future__ import annotations

import os
from dataclasses import replace
from urllib.parse import urlencode

from portero.core.sessions.records import DeviceSession
from portero.core.transitions import SessionKey, SubjectKey
from portero.core.types import ClientId, NumericDate, Sid
from tests.strangers.node import Stranger
from tests.strangers.world import CONFIDENTIAL, PASSWORD, strange_world


def test_axe_finds_nothing_on_any_page() -> None:
    """WCAG 2.2 A and AA as far as a program can tell, and axe's best practices; no page is wider than its window."""
    with strange_world(console_role="operators") as world:
        ana = world.person("ana")
        world.put(SubjectKey(ana.subject), replace(ana, name="Ana García Fernández", roles=("operators",)))
        world.person("bruno")
        # What the person agrees to ends on a page that is there.
        back = f"{world.issuer}/signed-out"
        client = world.register(replace(CONFIDENTIAL, require_pkce=False, first_party=False, redirect_uris=(back,)))
        now = world.context.now()
        for sid, name in (("a", "Firefox · Linux"), ("b", "Portero for Android on a telephone with a long name")):
            times = [NumericDate(now + seconds) for seconds in (-90_000, -60, 300, 900_000, 800_000)]
            place = "198.51.0.0/16"
            client_id = ClientId(client.client_id)
            world.put(SessionKey(Sid(sid)), DeviceSession(Sid(sid), None, ana.subject, client_id, name, place, *times))
        query = {
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uris[0],
            "response_type": "code",
            "scope": " ".join(client.scope),
            "prompt": "consent",
        }
        arguments = {
            "issuer": world.issuer,
            "authorize": f"{world.issuer}/authorize?{urlencode(query)}",
            "username": "ana",
            "password": PASSWORD,
            "subject": ana.subject,
            "languages": ["en", "es"],
            "pictures": os.environ.get("PORTERO_PICTURES"),
        }
        found: dict[str, list[str]] = {}
        with Stranger("accessibility.mjs", **arguments) as browser:
            for said in browser.all():
                if "page" in said:
                    found[said["page"]] = said["found"]
                if "done" in said:
                    break

    assert {page: faults for page, faults in found.items() if faults} == {}
    assert len(found) == 17 * (4 if arguments["pictures"] else 2)
