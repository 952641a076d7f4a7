"""A person at a browser without script: it follows redirects, keeps cookies, and sends plain forms."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from urllib.parse import urljoin

import httpx2

from tests.authorization_server.browser.harness import Answer
from tests.strangers.world import PASSWORD, World


@dataclass
class Person:
    """Signs in wherever they are asked to, agrees, and signs out."""

    world: World
    username: str = "ana"
    browser: httpx2.Client = field(default_factory=lambda: httpx2.Client(headers={"accept": "text/html"}))
    asked: list[str] = field(default_factory=list)
    """The paths whose forms they filled in, in order."""
    vouches: str = ""
    """The issuer of a provider whose door they take where there is one; its forms are filled in as ours are."""

    def visit(self, url: str, *, until: str | None = None) -> Answer:
        """Go to a page, and on from there until somebody shows one that asks nothing.

        Args:
            until: stop before going to a URL with this beginning; the answer's `location` is that URL.
        """
        return self._go_on(self.browser.get(url), until=until)

    def sign_out_everywhere(self) -> None:
        """End all one's sessions on the account page, as somebody does who lost a device."""
        page = self.visit(f"{self.world.issuer}/account")
        form = next(form for form in page.forms if form.keys() >= {"form_token"} and "sid" not in form)
        self._go_on(self._submitted(page, {**form, "action": "end_all"}), until=None)

    def _go_on(self, seen: httpx2.Response, *, until: str | None) -> Answer:
        for _ in range(20):
            if seen.is_redirect:
                target = urljoin(str(seen.url), seen.headers["location"])
                if until is not None and target.startswith(until):
                    return _answer(seen, location=target)
                seen = self.browser.get(target)
                continue
            page = _answer(seen)
            onward = self._onward(page)
            if onward is not None:
                seen = self.browser.get(urljoin(page.url, html.unescape(onward)))
                continue
            filled = self._filled(page)
            if filled is None:
                return page
            seen = self._submitted(page, filled)
        raise AssertionError(f"led around in circles: {seen.url}")

    def _onward(self, page: Answer) -> str | None:
        """Where a page goes on by itself, or the door that they take."""
        if page.status != 200:
            return None
        found = re.search(r'content="0;url=([^"]*)"', page.text)
        if found is None and self.vouches:
            found = re.search(r'href="(/sign-in/openid/[^"]*)"', page.text)
        return None if found is None else found[1]

    def _filled(self, page: Answer) -> dict[str, str] | None:
        known = (self.world.issuer, *filter(None, [self.vouches]))
        if not page.url.startswith(known) or page.status != 200:
            return None
        for form in page.forms:
            if "password" in form and "new_password" not in form:
                return {**form, "username": self.username, "password": PASSWORD}
            if form[""] == "/consent":
                return {**form, "decision": "allow"}
            if form[""] == "/end_session":
                return {**form, "decision": "sign_out"}
            if form[""] == f"{self.vouches}/session/end/confirm":
                return form
        return None

    def _submitted(self, page: Answer, form: dict[str, str]) -> httpx2.Response:
        action = form.pop("") or page.url
        self.asked.append(action)
        fields = {name: value for name, value in form.items() if name and value}
        return self.browser.post(urljoin(page.url, action), data=fields)


def _answer(seen: httpx2.Response, *, location: str | None = None) -> Answer:
    headers = [(name.lower(), value) for name, value in seen.headers.multi_items() if name.lower() != "location"]
    if location is not None:
        headers.append(("location", location))
    return Answer(seen.status_code, headers, seen.content, str(seen.url))
