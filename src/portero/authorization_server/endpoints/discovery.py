"""`GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration` (RFC 8414, OIDC Discovery)."""

from __future__ import annotations

import orjson

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.exchange import Handler, Request
from portero.authorization_server.endpoints.responses import Answer, cacheable_json
from portero.authorization_server.sign_in.methods import offered_acr, open_methods
from portero.core.oauth.metadata import server_metadata
from portero.core.oauth.userinfo import claims_of_scopes
from portero.core.types import Issuer

MAX_AGE = 300
"""Seconds."""


def discovery(context: Context) -> Handler:
    """Make the handler; the document is the same for every request while the keys' algorithms are."""
    config = context.config
    acr_values = offered_acr(open_methods(config.sign_in))

    async def handle(request: Request) -> Answer:
        await context.key_ring.keep_up()
        metadata = server_metadata(
            issuer=Issuer(config.issuer),
            scopes=config.scopes,
            id_token_algorithms=context.key_ring.algorithms,
            languages=config.languages,
            status_lists=config.status_list,
            registration=config.dynamic_registration,
            client_documents=bool(config.client_metadata_hosts),
            person_claims=claims_of_scopes(config.scope_claims),
            acr_values=acr_values,
        )
        return cacheable_json(orjson.dumps(metadata), max_age=MAX_AGE)

    return handle
