"""Door sign: a name and a password that this server itself keeps (argon2id).

```toml
[sign_in.password]
```

Steps: `submit`, the form on the sign-in page. What protects it from guessing is `sign_in.throttle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portero.authorization_server.sign_in.methods.password.method import PasswordMethod
from portero.core.errors import ConfigurationError

__all__ = ["open_method"]


def open_method(table: Mapping[str, Any]) -> PasswordMethod:
    """Read `[sign_in.password]`, which has no settings.

    Raises:
        ConfigurationError: it has one.
    """
    for key in table:
        raise ConfigurationError(f"sign_in.password.{key}", "(unknown key)", "this method has no settings")
    return PasswordMethod()
