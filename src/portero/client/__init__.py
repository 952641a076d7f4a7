"""Clients in Python: sign in, keep the tokens, call services, stay signed in, sign out.

    session = Session(Config(issuer="https://login.example", client_id="reports",
                             allowed_origins=("https://api.example",)),
                      store=FileStore.for_session("reports"))
    sign_in_with_browser(session)
    http = httpx2.Client(auth=Auth(session))

`RequestsSession` is in `portero.client.requests`, `KeyringStore` in `portero.client.stores.keyring`: each needs an
extra of its own.
"""

from portero.client.auth import Auth
from portero.client.config import ClientLimits, Config
from portero.client.errors import (
    AuthorizationRefused,
    ClientError,
    CodeRefused,
    CredentialsRefused,
    DiscoveryFailed,
    IdTokenInvalid,
    IssuerMismatch,
    LoginAttemptUnknown,
    NotReplayableError,
    RedirectRequired,
    RefreshUnavailable,
    SignInRequired,
    SignInTimeout,
    StepUpRequired,
    StoreUnavailable,
    TokenEndpointUnavailable,
)
from portero.client.machine import TRANSITIONS, Cause, State
from portero.client.session import Session, TokenInfo
from portero.client.sign_in.browser import sign_in_with_browser
from portero.client.sign_in.device import DevicePrompt, sign_in_on_device
from portero.client.sign_in.password import sign_in_with_password
from portero.client.stores import TokenStore
from portero.client.stores.file import FileStore
from portero.client.stores.memory import MemoryStore
from portero.client.userinfo import ask_userinfo
from portero.core.types import Secret

__all__ = [
    "TRANSITIONS",
    "Auth",
    "AuthorizationRefused",
    "Cause",
    "ClientError",
    "ClientLimits",
    "CodeRefused",
    "Config",
    "CredentialsRefused",
    "DevicePrompt",
    "DiscoveryFailed",
    "FileStore",
    "IdTokenInvalid",
    "IssuerMismatch",
    "LoginAttemptUnknown",
    "MemoryStore",
    "NotReplayableError",
    "RedirectRequired",
    "RefreshUnavailable",
    "Secret",
    "Session",
    "SignInRequired",
    "SignInTimeout",
    "State",
    "StepUpRequired",
    "StoreUnavailable",
    "TokenEndpointUnavailable",
    "TokenInfo",
    "TokenStore",
    "ask_userinfo",
    "sign_in_on_device",
    "sign_in_with_browser",
    "sign_in_with_password",
]
