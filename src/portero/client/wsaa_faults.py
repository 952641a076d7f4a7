"""What WSAA's faults mean, and what to do about each."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from portero.adapters.afip.wsaa_messages import WsaaFault
from portero.core.errors import PorteroError, Unavailable

PAUSE = 60
"""Seconds without a new request after one that failed for a passing reason: AFIP's own rule."""
ALREADY = "coe.alreadyAuthenticated"

_ADVICE = {
    "coe.notAuthorized": "in AFIP's own pages, allow this computer (alias) to use the service for the CUIT",
    "cms.bad": "the signed request was damaged on its way; look for a proxy that changes it",
    "cms.bad.base64": "the signed request was damaged on its way; look for a proxy that changes it",
    "cms.cert.notFound": "the certificate did not arrive; look for a proxy that changes the request",
    "cms.sign.invalid": "check that the key belongs to the certificate",
    "cms.cert.expired": "the certificate is over: ask AFIP for a new one with the same alias",
    "cms.cert.invalid": "the certificate is not valid yet: check which one it is",
    "cms.cert.untrusted": "the certificate is of the other environment: test and production have their own",
    "xml.generationTime.invalid": "set this machine's clock by the network",
    "xml.expirationTime.expired": "set this machine's clock by the network",
    "xml.expirationTime.invalid": "set this machine's clock by the network",
    "wsn.notFound": "AFIP knows no service of this name in this environment",
}
_ABOUT_TIME = ("xml.generationTime", "xml.expirationTime", "cms.cert.invalid", "cms.cert.expired")


class WsaaRefused(PorteroError):
    """AFIP says no, and will say so again until something is mended. `code` is AFIP's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"AFIP refuses ({code}): {message}")
        self.code = code


class WsaaUnavailable(Unavailable):
    """No ticket for the moment. `code` is AFIP's, or `lost`, `pause`, `busy`."""

    def __init__(self, code: str, message: str, *, retry_after: int) -> None:
        super().__init__(
            f"no ticket from AFIP yet ({code}): {message}; again in {retry_after} s", retry_after=retry_after
        )
        self.code = code


def explain(fault: WsaaFault, *, date: str | None, now: float) -> WsaaRefused | WsaaUnavailable:
    """Make the error of a fault.

    Args:
        date: the answer's `Date` header, which tells whether our clock is wrong.
    """
    if fault.code == ALREADY:
        message = "it gave a ticket minutes ago that is not here, for its answer was lost or another folder has it"
        return WsaaUnavailable(fault.code, f"{message}; it gives the next within 10 minutes", retry_after=PAUSE)
    if fault.code == "wsn.unavailable" or fault.code.startswith("wsaa."):
        return WsaaUnavailable(fault.code, fault.text or "the service is down", retry_after=PAUSE)
    parts = [fault.text, _ADVICE.get(fault.code, "")]
    if fault.code.startswith(_ABOUT_TIME) and (ahead := _ahead(date, now)):
        parts.append(f"this machine's clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} AFIP's")
    return WsaaRefused(fault.code, "; ".join(part for part in parts if part) or "it does not say why")


def _ahead(date: str | None, now: float) -> int:
    try:
        ahead = int(now - parsedate_to_datetime(date or "").timestamp())
    except ValueError:
        return 0
    return ahead if abs(ahead) > 30 else 0
