"""The two pages a person may meet between sign-in page and application: a landing for an instant, and a failure.

The landing is a page and no redirect. A redirect would still belong to the navigation that the other site began, and
the browser would leave our `Strict` cookie out of it; a page's own refresh is a navigation of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

from portero.client.browser_session.exchange import Exchange, Headers

_POLICY: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SECURITY: Final[Headers] = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:1.05rem/1.5 system-ui,sans-serif;max-width:32rem;margin:18vh auto;"
    "padding:0 1.25rem}h1{font-size:1.35rem}a{color:inherit;font-weight:600}p+p{margin-top:1.5rem}"
)


@dataclass(frozen=True, slots=True)
class Texts:
    """What the pages say in one language."""

    going: str
    go: str
    title: str
    unknown: str
    refused: str
    unavailable: str
    again: str
    home: str


TEXTS: Final = {
    "en": Texts(
        going="One moment …",
        go="Continue",
        title="The sign-in was not finished",
        unknown="This browser does not know this sign-in: it took too long, was finished before, or began elsewhere.",
        refused="The sign-in was cancelled or refused.",
        unavailable="Something of ours does not answer right now. You are not to blame; try again in a moment.",
        again="Sign in again",
        home="Back",
    ),
    "es": Texts(
        going="Un momento …",
        go="Continuar",
        title="El inicio de sesión no terminó",
        unknown="Este navegador no conoce este inicio de sesión: tardó demasiado, ya terminó o empezó en otro lugar.",
        refused="El inicio de sesión se canceló o fue rechazado.",
        unavailable="Algo nuestro no responde en este momento. No es culpa tuya; prueba de nuevo en un rato.",
        again="Iniciar sesión otra vez",
        home="Volver",
    ),
}


def language_of(exchange: Exchange) -> str:
    """Spanish where the browser asks for it before English."""
    for part in (exchange.header("accept-language") or "").lower().split(","):
        language = part.strip()[:2]
        if language in TEXTS:
            return language
    return "en"


async def land(exchange: Exchange, url: str) -> None:
    """Go on to `url`, an address of our own origin, as ourselves."""
    language = language_of(exchange)
    texts, address = TEXTS[language], escape(url.replace("'", "%27").replace('"', "%22"))
    refresh = f'<meta http-equiv="refresh" content="0;url={address}">'
    await _page(exchange, 200, language, texts.going, refresh, f'<p><a href="{address}">{texts.go}</a></p>')


async def fail(exchange: Exchange, status: int, *, why: str, again: str | None, home: str) -> None:
    """Say that the sign-in failed. Never a redirect back to the sign-in page: that could be a loop.

    Args:
        why: `unknown`, `refused` or `unavailable`.
        again: where a new sign-in begins.
        home: where the application is.
    """
    language = language_of(exchange)
    texts = TEXTS[language]
    links = [f'<a href="{escape(home)}">{texts.home}</a>']
    if again is not None:
        links.insert(0, f'<a href="{escape(again)}">{texts.again}</a>')
    body = f"<h1>{texts.title}</h1><p>{getattr(texts, why)}</p><p>{' · '.join(links)}</p>"
    await _page(exchange, status, language, texts.title, "", body)


async def _page(exchange: Exchange, status: int, language: str, title: str, head: str, body: str) -> None:
    text = (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">{head}'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style><main>{body}</main></html>"
    )
    await exchange.answer(status, _SECURITY, text.encode())
