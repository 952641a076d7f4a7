"""oidc-provider (`provider.mjs`) and a server of ours, known to one another: `[sign_in.openid.acme]`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.strangers.world import SECRET, World

DOOR = "/sign-in/openid/acme"


def acme_table(issuer: str, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What we are told of the provider."""
    patch.setenv("ACME_SECRET", SECRET)
    return {"issuer": issuer, "client_id": "portero", "client_secret_env": "ACME_SECRET", "label": "Acme"}


def acme_client(world: World) -> dict[str, Any]:
    """What the provider is told of us, once our address is known."""
    return {
        "client_id": "portero",
        "client_secret": SECRET,
        "redirect_uris": [f"{world.issuer}{DOOR}/callback"],
        "post_logout_redirect_uris": [f"{world.issuer}{DOOR}/signed-out"],
        "backchannel_logout_uri": f"{world.issuer}{DOOR}/backchannel-logout",
        "backchannel_logout_session_required": True,
    }
