"""A person with a browser of their own: follows addresses, fills in forms, keeps cookies."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import httpx2

from tests.client.world import PLAIN

_HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


class Person:
    """Ana, in one browser. `page` is what it shows."""

    def __init__(self, username: str = "ana", password: str = "correct horse") -> None:
        self._name, self._password = username, password
        self._browser = httpx2.Client(**PLAIN, timeout=60)
        self.page = httpx2.Response(200)

    def open(self, url: str) -> None:
        """Go there, and sign in where that is asked."""
        self._follow(self._browser.get(url))
        if 'name="password"' in self.page.text:
            self.send(path="/sign-in", username=self._name, password=self._password)

    def send(self, *, path: str, **fields: str) -> None:
        """Send the form of this page."""
        form = {**dict(_HIDDEN.findall(self.page.text)), **fields}
        self._follow(self._browser.post(urljoin(str(self.page.url), path), data=form))

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()

    def _follow(self, answer: httpx2.Response) -> None:
        while answer.is_redirect:
            answer = self._browser.get(urljoin(str(answer.url), answer.headers["location"]))
        self.page = answer
