"""Open many refresh-token families against a running server, the way a browser does: form, cookie, code, token."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

REDIRECT_URI = "https://client.example/cb"
FAMILIES_PER_SIGN_IN = 8  # below the ten that a device session holds


def refresh_tokens(issuer: str, *, client_id: str, username: str, password: str, count: int, scope: str) -> list[str]:
    """Sign in as often as it takes and exchange codes until `count` families stand; return their refresh tokens."""
    tokens: list[str] = []
    while len(tokens) < count:
        with httpx2.Client(base_url=issuer, timeout=10) as browser:
            wanted = min(FAMILIES_PER_SIGN_IN, count - len(tokens))
            tokens += [_one(browser, client_id, username, password, scope) for _ in range(wanted)]
    return tokens


def _one(browser: httpx2.Client, client_id: str, username: str, password: str, scope: str) -> str:
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code", "client_id": client_id, "redirect_uri": REDIRECT_URI, "scope": scope,
        "code_challenge": challenge, "code_challenge_method": "S256", "state": secrets.token_urlsafe(8),
    }  # fmt: skip
    answer = browser.get("/authorize?" + urlencode(query))
    while not (location := answer.headers.get("location", "")).startswith(REDIRECT_URI):
        if location:
            answer = browser.get(location)
            continue
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
        action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
        answer = browser.post(
            action[1] if action else str(answer.url),
            data={**fields, "username": username, "password": password},
            headers={"Origin": str(browser.base_url).rstrip("/")},
        )
    code = parse_qs(urlsplit(location).query)["code"][0]
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "client_id": client_id,
        "code_verifier": verifier,
    }  # fmt: skip
    granted = browser.post("/token", data=form)
    granted.raise_for_status()
    return str(granted.json()["refresh_token"])
