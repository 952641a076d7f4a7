"""One module per protocol endpoint: parse, transition, render.

`routes` gathers those that clients and services call (the back channel). What a browser
visits (authorize, end_session) is gathered by `portero.authorization_server.pages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.routing import Route

    from portero.authorization_server.context import Context
    from portero.authorization_server.endpoints.hub import Hub


def routes(
    context: Context, *, hub: Hub | None = None, news: Callable[[], Awaitable[None]] | None = None
) -> list[Route]:
    """Make the routes of the back channel, around an open context.

    Args:
        hub: what serves the revocation feed, for a server that calls its `close()` before it
            waits for open connections: streams and long polls then end at once.
        news: waits until events may have come for who polls (`Outbox.news`); None: a second.
    """
    from portero.authorization_server.endpoints.back_channel import back_channel

    return back_channel(context, hub=hub, news=news)
