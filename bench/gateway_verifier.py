"""The verifier behind nginx's `auth_request` in `bench gateway`: the Guard with its cache.

python -m bench.gateway_verifier PORT ISSUER
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from bench.gateway_peers import AUDIENCE
from portero.core.policy.credentials import token_of
from portero.core.policy.principal import Principal
from portero.gateway.requests import Answer, Answering, Request
from portero.resource_server import Guard

_YES, _NO = Answer(204), Answer(401)


async def _serve(port: int, issuer: str) -> None:
    guard = Guard(issuers=[issuer], audience=AUDIENCE, revocation=None, cache_entries=100_000, cache_bytes=2**29)
    requirement = guard.requires(scopes=["orders:read"])
    await guard.start()

    def respond(request: Request) -> Answer:
        token = token_of(request.headers)
        if not isinstance(token, bytes):
            return _NO
        return _YES if isinstance(guard.admit(token, requirement), Principal) else _NO

    server = await asyncio.get_running_loop().create_server(lambda: Answering(respond), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), sys.argv[2]))
