"""Who is signed in, by the server's own word (OpenID Connect Core §5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portero.adapters.fetch.requests import Fetched, FetchRequest
from portero.client.driving import drive
from portero.client.errors import DiscoveryFailed, RefreshUnavailable, SignInRequired
from portero.client.protocol.token import json_object
from portero.client.sender import Answer, Outgoing, Send
from portero.client.session import Session
from portero.core.errors import Unavailable


def ask_userinfo(session: Session) -> Mapping[str, Any]:
    """Return the claims of the person who is signed in. Blocks.

    Raises:
        SignInRequired: nobody is signed in, or the session has just ended.
        RefreshUnavailable: the server does not answer.
        DiscoveryFailed: it has no such endpoint.
    """
    core = session.core
    try:
        url = core.metadata().userinfo_endpoint
    except Unavailable:
        raise RefreshUnavailable("network") from None
    if url is None:
        raise DiscoveryFailed("no userinfo_endpoint")
    answers: list[Fetched] = []

    def send(step: Send) -> Answer:
        try:
            answers.append(core.fetch(FetchRequest(url, headers=step.headers or {})))
        except Unavailable:
            raise RefreshUnavailable("network") from None
        return Answer(answers[-1].status, answers[-1].headers, url)

    drive(session, session.call(Outgoing("GET", url, replayable=True, trusted=True)), send)
    answer = answers[-1]
    if answer.status in {401, 403}:
        raise SignInRequired(f"the server answers {answer.status}; the scope openid may be missing")
    if answer.status != 200:
        raise RefreshUnavailable(f"HTTP {answer.status}")
    return json_object(answer.body)
