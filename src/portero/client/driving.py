"""The plain driver of a call: waits for refreshes in this thread, and sends with a function."""

from __future__ import annotations

from collections.abc import Callable

from portero.client.errors import ClientError
from portero.client.sender import Answer, Call, Send
from portero.client.session import Session


def drive(session: Session, call: Call, send: Callable[[Send], Answer]) -> None:
    """Carry a call to its end; the last answer that `send` gave is the one that counts.

    Raises:
        ClientError: as `Sender.call`.
    """
    try:
        step = next(call)
        while True:
            if isinstance(step, Send):
                step = call.send(send(step))
                continue
            try:
                tokens = session.await_flight(step)
            except ClientError as error:
                step = call.throw(error)
            else:
                step = call.send(tokens)
    except StopIteration:
        return
    finally:
        call.close()
        session.tell()
