"""HTTP answers to a person's browser, and the security headers every one of them carries.

The Content-Security-Policy allows our own style sheet and nothing else. Chromium applies
`form-action` to every redirect that follows a form (CSP3 §6.3.1 leaves it open), so a page whose
form may end at a client names the places that client registered, and only those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class SecurityHeaders:
    """What goes with every answer.

    Args:
        secure: the issuer is https: tell browsers to stay there (RFC 6797).
    """

    secure: bool

    def apply(self, response: Response, *, form_targets: Iterable[str] = (), script: str | None = None) -> None:
        """Add the headers.

        Args:
            form_targets: CSP sources beside ourselves where a form of this page may end.
            script: the one inline script the page has, as a CSP hash source.
        """
        policy = [
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self' data:",
            " ".join(("form-action 'self'", *dict.fromkeys(form_targets))),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
        if script is not None:
            policy.append(f"script-src {script}")
        headers = response.headers
        headers["content-security-policy"] = "; ".join(policy)
        headers["cache-control"] = "no-store"
        headers["referrer-policy"] = "no-referrer"
        headers["x-content-type-options"] = "nosniff"
        headers["x-frame-options"] = "DENY"  # for browsers that know no frame-ancestors
        if self.secure:
            headers["strict-transport-security"] = "max-age=31536000"


def see_other(location: str) -> Response:
    """Answer 303: whatever the method was, the browser goes on with GET (RFC 9110 §15.4.4).

    Never 307: that would send the password on to the client (RFC 9700 §4.12).
    """
    return Response(status_code=303, headers={"location": location})
