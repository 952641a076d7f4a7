"""Door sign: another OpenID provider vouches, found by discovery; several may, each with a door of its own.

```toml
[sign_in.openid.google]                  # the name is part of the redirect URI
preset = "google"                        # google, entra, keycloak, autenticar or mi_argentina: see presets.py
client_id = "…"
client_secret_env = "GOOGLE_SECRET"      # the environment variable that holds it
sign_out = true                          # who signs out here signs out there too, where it offers that
```

Steps, for each provider NAME: `NAME/start` (a link; leaves with state, nonce and a PKCE challenge) and `NAME/callback`
(the redirect URI to register there), which goes on to `NAME/finish`, where the code is redeemed. Beside them
`NAME/backchannel-logout`, where the provider says that somebody signed out, and
`NAME/signed-out`, the post-logout redirect URI to register there.
"""

from __future__ import annotations

from portero.authorization_server.sign_in.methods.openid.settings import open_method

__all__ = ["open_method"]
