"""Serves the single-page app, and the demo's own controls: time passes, an operator ends sessions.

The controls run Portero's command line beside the running server, as an operator would. They take only
requests that carry the page's own header from the page's own origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from examples.shop.settings import CLIENT_ID, INVENTORY, ORDERS, SHIPPING, WEB_CLIENT_ID, Settings
from portero.client.browser_session import BrowserSession, Secret, SqliteSessions
from portero.client.browser_session import Settings as SessionSettings
from portero.client.browser_session.settings import CLAIMS
from portero.testing.shared_clock import SharedClock

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parents[1] / "clients/browser/dist"
MINUTES = 6


def app(shop: Settings) -> Starlette:
    clock = SharedClock(shop.clock_file)
    called = {name: shop.called_at(name) for name in ("orders", "inventory", "shipping")}
    origins = " ".join(dict.fromkeys([shop.gateway] if shop.has_gateway else called.values()))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"connect-src 'self' {shop.issuer} {origins}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )

    async def index(request: Request) -> Response:
        return FileResponse(
            HERE / "page/index.html", headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
        )

    async def config(request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": shop.issuer,
                "clientId": CLIENT_ID,
                "services": {
                    "orders": {"url": called["orders"], "framework": "FastAPI", "audience": ORDERS},
                    "inventory": {"url": called["inventory"], "framework": "Flask", "audience": INVENTORY},
                    "shipping": {"url": called["shipping"], "framework": "Django", "audience": SHIPPING},
                },
                "layout": shop.layout,
                "store": shop.store,
            }
        )

    async def control(request: Request) -> Response:
        if request.headers.get("x-demo") != "1" or request.headers.get("origin") != shop.page:
            return JSONResponse({"error": "the demo's controls belong to its own page"}, status_code=403)
        match request.path_params["name"]:
            case "time":
                return JSONResponse({"offset": clock.advance(MINUTES * 60)})
            case "now":
                return JSONResponse({"now": clock.now()})
            case "end":
                sid = str((await request.json())["sid"])
                return await operator(shop, "sessions", "end", sid)
            case "everywhere":
                username = str((await request.json())["username"])
                return await operator(shop, "sessions", "end", "--user", username)
            case "behind":
                return JSONResponse(behind(shop, await request.json()))
            case "devices":
                return await operator(shop, "sessions", "list", "--json")
        return JSONResponse({"error": "no such control"}, status_code=404)

    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": True})

    return Starlette(
        routes=[
            Route("/readyz", ready),
            Route("/config.json", config),
            Route("/demo/{name}", control, methods=["POST"]),
            Mount("/portero", StaticFiles(directory=LIBRARY)),
            Route("/", index),
            Route("/callback", index),
            Route("/inventory", index),
            Route("/shipping", index),
            Mount("/", StaticFiles(directory=HERE / "page")),
        ]
    )


def behind(shop: Settings, known: dict[str, int]) -> dict[str, Any]:
    """What happened where no page can look, since `known` lines of each file: for the diagram of `STORE=cookie`."""
    files = {name: shop.seen_file(name) for name in ("orders", "inventory", "shipping")}
    lines = {name: file.read_text().splitlines() if file.exists() else [] for name, file in files.items()}
    log = (shop.path / "authorization.log").read_text(errors="replace").splitlines()
    lines["refreshes"] = [line for line in log if '"refresh_rotated"' in line and f'"{WEB_CLIENT_ID}"' in line]
    news = {name: found[known.get(name, len(found)) :] for name, found in lines.items()}
    return {
        "known": {name: len(found) for name, found in lines.items()},
        "refreshes": len(news.pop("refreshes")),
        "services": [{"service": name, **json.loads(line)} for name, found in news.items() for line in found],
    }


def with_session(shop: Settings) -> BrowserSession:
    """The page, and around it the browser session: what `STORE=cookie` uses, and the switch on the page."""
    secrets = (Secret(shop.session_secret),)
    settings = SessionSettings(
        issuer=shop.issuer,
        client_id=WEB_CLIENT_ID,
        client_secret=Secret(shop.session_secret),
        origin=shop.page,
        secrets=secrets,
        scope="openid profile orders:read orders:write inventory:read shipping:read",
        upstreams={f"/api/{name}": f"{shop.called_at(name)}/{name}" for name in ("orders", "inventory", "shipping")},
        claims=(*CLAIMS, "sid"),  # for the button that plays the operator
    )
    sessions = SqliteSessions(shop.path / "sessions.db", secrets=secrets)
    return BrowserSession(settings, sessions=sessions, app=app(shop), clock=SharedClock(shop.clock_file))


async def operator(shop: Settings, *arguments: str) -> Response:
    """Run `portero …` beside the server, on the same database."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "portero", *arguments, "--config", str(shop.config_file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    if process.returncode != 0:
        return JSONResponse({"error": err.decode(errors="replace").strip()}, status_code=500)
    answer: Any = out.decode(errors="replace").strip()
    with contextlib.suppress(ValueError):
        answer = json.loads(answer)
    return JSONResponse({"ok": answer})


if __name__ == "__main__":
    here = Settings.load()
    uvicorn.run(with_session(here), host="127.0.0.1", port=here.page_port, log_level="warning", access_log=False)
