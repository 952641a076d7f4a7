"""An upstream on a real socket that records every request as it came, and says back what it saw."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, as bytes on the wire and taken apart."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    """Names in lower case, in their order."""
    body: bytes
    raw: bytes = field(repr=False, default=b"")

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]


class RecordingUpstream:
    """Serves until closed; a context manager."""

    def __init__(self, name: str = "upstream") -> None:
        self.name = name
        self.seen: list[Seen] = []
        self._answers: list[bytes] = []
        self._held: threading.Event | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer_next(self, raw: bytes) -> None:
        """Answer the next request with these bytes and close."""
        self._answers.append(raw)

    def forget(self) -> None:
        """Begin a new record, and answer as usual."""
        self.seen.clear()
        self._answers.clear()

    def hold(self, until: threading.Event) -> None:
        """Answer nothing until this is set."""
        self._held = until

    def __enter__(self) -> RecordingUpstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        # Wakes the accepting thread.
        with socket.socket() as knock:
            knock.connect_ex(("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()
        for one in tuple(self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._closed:
                connection.close()
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffered = b""
        try:
            while True:
                while _HEAD_END not in buffered:
                    data = connection.recv(65536)
                    if not data:
                        return
                    buffered += data
                head, _, buffered = buffered.partition(_HEAD_END)
                seen, buffered = self._read(connection, head, buffered)
                self.seen.append(seen)
                if self._held is not None:
                    self._held.wait(60)
                if self._answers:
                    connection.sendall(self._answers.pop(0))
                    return
                connection.sendall(self._said(seen))
        except OSError:
            return
        finally:
            self._open.discard(connection)
            connection.close()

    def _read(self, connection: socket.socket, head: bytes, buffered: bytes) -> tuple[Seen, bytes]:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        given = dict(headers)
        body = b""
        if "chunked" in given.get("transfer-encoding", ""):
            while True:
                while b"\r\n" not in buffered:
                    buffered += self._more(connection)
                size, _, buffered = buffered.partition(b"\r\n")
                wanted = int(size.split(b";")[0], 16) + 2
                while len(buffered) < wanted:
                    buffered += self._more(connection)
                chunk, buffered = buffered[: wanted - 2], buffered[wanted:]
                if not chunk:
                    break
                body += chunk
        else:
            wanted = int(given.get("content-length", "0"))
            while len(buffered) < wanted:
                buffered += self._more(connection)
            body, buffered = buffered[:wanted], buffered[wanted:]
        return Seen(method, target, headers, body, head + _HEAD_END + body), buffered

    def _more(self, connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        if not data:
            raise OSError("the request ended early")
        return data

    def _said(self, seen: Seen) -> bytes:
        body = json.dumps({"service": self.name, "method": seen.method, "target": seen.target}).encode()
        sent = b"" if seen.method == "HEAD" else body
        return (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + sent
        )
