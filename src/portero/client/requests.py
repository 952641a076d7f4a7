"""For programs that use `requests` (extra `requests`): its `Session`, with a token for the allowed origins."""

from __future__ import annotations

from typing import Any

import requests

from portero.client.driving import drive
from portero.client.errors import NotReplayableError
from portero.client.replay import is_replayable_body
from portero.client.sender import Answer, Outgoing, Send
from portero.client.session import Session


class RequestsSession(requests.Session):
    """A `requests.Session` that sends a session's token; it refreshes and repeats as `Auth` does.

    A body that is a file or a generator is sent once: `requests` would begin it where the first try left it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._portero = session

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a prepared request; redirects come through here one by one, each with the token only where it is due."""
        outgoing = Outgoing(
            method=request.method or "GET",
            url=request.url or "",
            replayable=is_replayable_body(request.body),
            has_authorization="Authorization" in request.headers,
        )
        answers: list[requests.Response] = []
        ours = False

        def send(step: Send) -> Answer:
            nonlocal ours
            for response in answers:
                response.content  # noqa: B018 - read, so that the connection can be used again
            if step.headers is not None:
                ours = True
                request.headers.update(step.headers)
            response = super(RequestsSession, self).send(request, **kwargs)
            answers.append(response)
            return Answer(response.status_code, response.headers, response.url)

        try:
            drive(self._portero, self._portero.call(outgoing), send)
        except NotReplayableError as error:
            error.response = answers[-1]
            raise
        finally:
            if ours:
                for sent in (request, *(response.request for response in answers)):
                    sent.headers.pop("Authorization", None)
                    sent.headers.pop("DPoP", None)
        return answers[-1]
