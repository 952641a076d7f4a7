"""Requests that are decided by hand: preflights, public routes, cookies, proofs of possession, WebSockets, cold keys.

The straight path (`client_side`) comes here with everything that is not a Bearer token in a header.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from portero.core.policy.cors import is_preflight
from portero.core.policy.credentials import token_of_header, token_of_subprotocols
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import NO_TOKEN, Refusal, two_tokens
from portero.core.policy.rendering import close_reason
from portero.core.policy.requirement import Requirement
from portero.gateway.embedded.answers import status_line
from portero.gateway.embedded.service_side import ServiceSide
from portero.gateway.embedded.websocket_frames import accept_of, close_frame
from portero.resource_server.asgi_websocket import SUBPROTOCOL
from portero.resource_server.guard import Guard
from portero.resource_server.sender import NONCE, Presented, RequestSeen
from portero.resource_server.trust import KeysWanted

if TYPE_CHECKING:
    from portero.gateway.embedded.client_side import ClientConnection
    from portero.gateway.embedded.client_state import ClientState
    from portero.gateway.embedded.plans import Plan


def by_hand(client: ClientConnection, plan: Plan, query: bytes) -> bytes:
    """Decide a request; returns what follows it, when that may be looked at already."""
    service = plan.service
    if plan.method == "OPTIONS" and service is not None:
        asked = client.header("access-control-request-method")
        origin = client.header("origin")
        if is_preflight("OPTIONS", origin, asked):
            headers = client.header("access-control-request-headers") or ""
            preflight = service.guard.cors.preflight_headers(origin, requested_headers=headers)
            return client.own_answer(204, preflight, b"")
    if plan.document is not None:
        headers_of_document = (("content-type", "application/json"), ("cache-control", "max-age=300"))
        return client.own_answer(200, headers_of_document, plan.document())
    if plan.refusal is not None:
        return client.refuse(plan.refusal)
    if plan.requirement is None:
        client.admitted(None, b"", query, websocket=client.wants_websocket)
        return b""
    guard = cast("ServiceSide", service).guard
    presented = _presented(client, plan, guard, query)
    if isinstance(presented, Refusal):
        return _refuse(client, presented)
    try:
        outcome = guard.admit(presented.token, plan.requirement, presented.sender)
    except KeysWanted:
        client.decide_later(_check(client, guard, presented, plan.requirement, query))
        return b""
    return _go_on(client, outcome, presented, query)


async def _check(
    client: ClientConnection, guard: Guard, presented: Presented, requirement: Requirement, query: bytes
) -> None:
    outcome = await guard.check(presented.token, requirement, presented.sender)
    client.decided(lambda: _go_on(client, outcome, presented, query))


def _go_on(client: ClientConnection, outcome: Principal | Refusal, presented: Presented, query: bytes) -> bytes:
    if isinstance(outcome, Refusal):
        return _refuse(client, outcome)
    client.by_dpop = presented.sender is not None and presented.sender.by_dpop
    client.admitted(outcome, presented.token, query, websocket=client.wants_websocket)
    return b""


def _presented(client: ClientConnection, plan: Plan, guard: Guard, query: bytes) -> Presented | Refusal:
    websocket = client.wants_websocket
    seen = RequestSeen(
        header=client.header, method=plan.method, path=plan.path, memo=client.memo_for_guard(), query=query
    )
    authorization = client.authorization
    in_header = NO_TOKEN if authorization is None else token_of_header(authorization, query)
    requirement = cast("Requirement", plan.requirement)
    presented = guard.presented(in_header, seen, requirement, websocket=websocket)
    if not websocket:
        return presented
    offered = token_of_subprotocols(subprotocols_of(client))
    if isinstance(offered, Refusal):
        client.by_page = True
        return offered
    in_subprotocol, _ = offered
    if in_subprotocol is None:
        return presented
    # A page's WebSocket: it cannot see a status, and is told by a close code.
    client.by_page = True
    if presented is not NO_TOKEN:
        return two_tokens("subprotocol and another")
    return guard.presented(in_subprotocol, seen, requirement, websocket=True)


def subprotocols_of(client: ClientState) -> list[str]:
    """What a WebSocket client offers, in its order."""
    offered = client.header("sec-websocket-protocol") or ""
    return [name.strip() for name in offered.split(",") if name.strip()]


def _refuse(client: ClientConnection, refusal: Refusal) -> bytes:
    key = client.websocket_headers.get(b"sec-websocket-key")
    if not client.by_page or key is None:
        return client.refuse(refusal)
    offered = subprotocols_of(client)
    lines = [status_line(101), b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ", accept_of(key)]
    if offered:
        lines += (b"\r\nsec-websocket-protocol: ", offered[0].encode("latin-1"))
    lines += (b"\r\n\r\n", close_frame(refusal.row.close_code, close_reason(refusal)))
    client.refused_by_close_code(refusal, b"".join(lines))
    return b""


def rare_lines(client: ClientState, service: ServiceSide, *, websocket: bool) -> list[bytes]:
    """The request headers that most requests do not have, as they are sent on."""
    lines: list[bytes] = []
    public = client.principal is None
    if public and client.authorization is not None and not service.asserts:
        # Nobody looked at it: the service's own Guard may, in the layout `hybrid`.
        lines += (b"authorization: ", client.authorization, b"\r\n")
    if client.dpop is not None and not service.asserts:
        lines += (b"dpop: ", client.dpop[0], b"\r\n")
    if client.cookies is not None:
        kept = _cookies_without_token(client, service)
        if kept:
            lines += (b"cookie: ", kept, b"\r\n")
    if client.expects and not client.body_done:
        lines.append(b"expect: 100-continue\r\n")
    if websocket:
        lines.append(b"connection: Upgrade\r\nupgrade: websocket\r\n")
        offered = token_of_subprotocols(subprotocols_of(client))
        rest = () if isinstance(offered, Refusal) else offered[1]
        if rest:
            lines.append(f"sec-websocket-protocol: {', '.join(rest)}\r\n".encode("latin-1"))
    return lines


def _cookies_without_token(client: ClientState, service: ServiceSide) -> bytes:
    cookies = b"; ".join(client.cookies or ())
    credential = service.guard.cookie
    if credential is None:
        return cookies
    name = credential.name.encode("latin-1")
    pairs = (pair.strip(b" \t") for pair in cookies.split(b";"))
    return b"; ".join(pair for pair in pairs if pair and pair.partition(b"=")[0].strip(b" \t") != name)


def nonce_line(client: ClientState) -> bytes:
    """The fresh nonce an answer brings where the Guard wants it to (RFC 9449 §8.2)."""
    nonce = client.memo.pop(NONCE, None) if client.memo else None
    return b"" if nonce is None else f"dpop-nonce: {nonce}\r\n".encode("ascii")


def accepts(client: ClientState, websocket: dict[bytes, bytes]) -> bool:
    """Whether a server's 101 answers the client's handshake (RFC 6455 §4.1)."""
    key = client.websocket_headers.get(b"sec-websocket-key")
    if key is None or websocket.get(b"sec-websocket-accept") != accept_of(key):
        return False
    chosen = websocket.get(b"sec-websocket-protocol")
    return chosen is None or chosen.decode("latin-1") in subprotocols_of(client)


def switch(client: ClientState, lines: list[bytes], websocket: dict[bytes, bytes]) -> bytes:
    """The 101 as the client gets it."""
    key = client.websocket_headers[b"sec-websocket-key"]
    chosen = websocket.get(b"sec-websocket-protocol")
    if chosen is None and client.by_page and SUBPROTOCOL in subprotocols_of(client):
        chosen = SUBPROTOCOL.encode()
    head = [status_line(101), b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ", accept_of(key)]
    if chosen is not None:
        head += (b"\r\nsec-websocket-protocol: ", chosen)
    return b"".join((*head, b"\r\n", *lines, b"x-request-id: ", client.request_id, b"\r\n\r\n"))


def watch(client: ClientState, when_over: Callable[[Refusal], None]) -> None:
    """End a stream or WebSocket with its token; also when that was taken back since it was admitted."""
    plan = client.plan
    principal = client.principal
    if plan is None or plan.service is None or principal is None or plan.requirement is None:
        return
    guard = plan.service.guard
    client.watch_with(guard.watch(principal, when_over))
    if principal.cnf_jkt is not None or principal.cnf_x5t_s256 is not None:
        # Its proof was checked a moment ago, and is no proof a second time: the registration alone tells.
        return
    try:
        again = guard.admit(client.token, plan.requirement)
    except KeysWanted:
        return
    if isinstance(again, Refusal):
        client.worker.soon(lambda: when_over(again))


Decision = Coroutine[Any, Any, None]
