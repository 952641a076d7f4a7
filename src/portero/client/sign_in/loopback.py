"""A port of this machine that hears one answer of the authorization server (RFC 8252 §7.3), and then closes.

What does not carry our `state` is turned away and ends nothing: any page in any browser can send requests here.
"""

from __future__ import annotations

import html
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

PATH = "/callback"
Query = dict[str, list[str]]

_STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:18vh auto;padding:0 1.5rem;"
    "background:Canvas;color:CanvasText;color-scheme:light dark}h1{font-size:1.5rem}"
)
_TEXTS = {
    "en": {
        "done": ("You are signed in", "Go back to the program. You can close this window."),
        "refused": ("You are not signed in", "The sign-in was not finished. Go back to the program."),
        "unknown": ("Nothing waits here", "This answer was used already, or belongs to another sign-in."),
    },
    "es": {
        "done": ("Ya iniciaste sesión", "Volvé al programa. Podés cerrar esta ventana."),
        "refused": ("No iniciaste sesión", "El inicio de sesión no se completó. Volvé al programa."),
        "unknown": ("Acá nadie espera nada", "Esta respuesta ya se usó, o es de otro inicio de sesión."),
    },
}


class Loopback:
    """Listens from `__enter__` to `__exit__`.

    Args:
        state: of the one answer that counts.
        port: 0 lets the system choose, which the server allows on loopback addresses (RFC 8252 §7.3).
    """

    def __init__(self, state: str, *, port: int = 0) -> None:
        self._state = state
        self.answered = threading.Event()
        """The answer is here, and its page was sent."""
        self._query: Query | None = None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="portero-sign-in", daemon=True
        )

    @property
    def redirect_uri(self) -> str:
        """Where the server sends the browser."""
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def wait(self, timeout: float, *, over: threading.Event) -> Query | None:
        """Return the answer's parameters; None: there was none in time, or it is over."""
        end = time.monotonic() + timeout
        while not over.is_set() and time.monotonic() < end:
            if self.answered.wait(min(0.2, timeout)):
                return self._query
        return None

    def take(self, query: Query) -> str:
        """Take an answer, if it is the one; returns what the page says."""
        with self._lock:
            ours = query.get("state") == [self._state] and ("code" in query or "error" in query)
            if not ours or self._query is not None:
                return "unknown"
            self._query = query
        return "done" if "code" in query else "refused"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # browsers open connections that they never use

    def __init__(self, address: tuple[str, int], loopback: Loopback) -> None:
        super().__init__(address, _Handler)
        self.loopback = loopback


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0  # seconds for one request: whoever connects and says nothing is let go

    def do_GET(self) -> None:
        """Hear one request."""
        server = self.server
        url = urlsplit(self.path)
        # Another name for this machine is a page of somebody else's that found the port (DNS rebinding).
        own = f"http://{self.headers.get('Host')}{url.path}"
        if not isinstance(server, _Server) or own != server.loopback.redirect_uri:
            self._answer(404, "unknown")
            return
        said = server.loopback.take(parse_qs(url.query))
        try:
            self._answer(400 if said == "unknown" else 200, said)
        finally:
            if said != "unknown":
                server.loopback.answered.set()

    def _answer(self, status: int, said: str) -> None:
        language = "es" if self.headers.get("Accept-Language", "").lower().startswith("es") else "en"
        title, body = (html.escape(text) for text in _TEXTS[language][said])
        page = (
            f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
            f"<main><h1>{title}</h1><p>{body}</p></main>"
        ).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing: the address holds the code."""
