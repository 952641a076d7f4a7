"""Whether the body of a request can be sent a second time. What cannot be is never sent again: it would be empty.

Serves the requests of httpx and of httpx2, which name everything alike.
"""

from __future__ import annotations

from typing import Any


def is_replayable(request: Any) -> bool:
    """Say whether sending this request again sends the same bytes.

    Bytes, text, forms and JSON: yes. Multipart: where every file in it can seek. A file or a generator as the whole
    body: no. An object whose `__iter__` (or `__aiter__`) begins anew each time, such as a list of chunks: yes.
    """
    try:
        request.content  # noqa: B018 - raises where the body was not read into memory
    except RuntimeError:
        pass
    else:
        return True
    fields = getattr(request.stream, "fields", None)
    if fields is not None:
        return all(_begins_anew(getattr(field, "file", b"")) for field in fields)
    body = getattr(request.stream, "_stream", request.stream)
    return not any(hasattr(body, name) for name in ("read", "aread", "__next__", "__anext__"))


def is_replayable_body(body: Any) -> bool:
    """Say the same of the body of a prepared request of `requests`."""
    return body is None or isinstance(body, bytes | str)


def _begins_anew(file: Any) -> bool:
    if isinstance(file, bytes | str):
        return True
    seekable = getattr(file, "seekable", None)
    return seekable is not None and bool(seekable())
