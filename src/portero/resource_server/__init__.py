"""The Guard: the same check in every service, in every Python framework.

`Guard` and its configuration are here; the adapters are flat modules beside it (`asgi`,
`fastapi`, `wsgi`, `flask`), imported by who uses them. Importing this package brings in no
storage, no templates and no web framework.
"""

from portero.core.keys.key_cache import KeyCachePolicy
from portero.core.policy.client_certificate import CertificateEncoding, ClientCertificate
from portero.core.policy.cookie_credential import CookieCredential
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import Refusal
from portero.core.policy.requirement import Requirement, WhenStale
from portero.core.types import Secret
from portero.resource_server.guard import Guard, Readiness
from portero.resource_server.issuers import FeedStart, RevocationFeed, TrustedIssuer
from portero.resource_server.sender import DpopPolicy

__all__ = [
    "CertificateEncoding",
    "ClientCertificate",
    "CookieCredential",
    "DpopPolicy",
    "FeedStart",
    "Guard",
    "KeyCachePolicy",
    "Principal",
    "Readiness",
    "Refusal",
    "Requirement",
    "RevocationFeed",
    "Secret",
    "TrustedIssuer",
    "WhenStale",
]
