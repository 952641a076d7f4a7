"""Rotate the keys of the assertions, one step a call: the waiting key signs, a new one waits, the old one retires.

The order in the file is the meaning: the first signs, the second is published and waits, the third
is published for what it signed. Gateways that run take the file over by themselves.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from portero.adapters.keys.generate import generate_private_key
from portero.core.errors import ConfigurationError
from portero.core.jose.jwk import PrivateKey, private_key_to_jwk
from portero.gateway.assertions import SETTING, AssertionKeys, beside

BETWEEN: Final = 600
"""Seconds a key is published before it signs, and after it signed last: longer than a service keeps the set, and
than an assertion lives."""


def rotate(path: Path, *, now: float, emergency: bool = False) -> AssertionKeys:
    """Take one step; answer the keys that hold now.

    Args:
        path: the private JWK Set; made when it is missing.
        now: NumericDate.
        emergency: a stranger has the keys: all go, and a new one signs at once. Assertions that are out are refused.

    Raises:
        ConfigurationError: the last step is too fresh, or the file is not as it must be.
    """
    existed = os.path.lexists(path)
    if not existed:
        AssertionKeys.open(path)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Another call may have replaced the file while this one waited.
        keys = AssertionKeys.open(path).keys
        new = generate_private_key("ES256")
        if emergency:
            return _written(path, (new,))
        left = path.stat().st_mtime + BETWEEN - now
        if existed and len(keys) > 1 and left > 0:
            expected = (
                f"was changed a moment ago: services may not know the new key yet. Try again in {int(left) + 1} s"
            )
            raise ConfigurationError(SETTING, str(path), expected)
        if len(keys) == 1:
            return _written(path, (*keys, new))
        return _written(path, (keys[1], new, keys[0]))


def _written(path: Path, keys: tuple[PrivateKey, ...]) -> AssertionKeys:
    content = b'{"keys": [' + b", ".join(private_key_to_jwk(key).reveal() for key in keys) + b"]}\n"
    try:
        with beside(path, content) as unfinished:
            unfinished.replace(path)
    except OSError as error:
        raise ConfigurationError(SETTING, str(path), f"cannot be written ({error.strerror})") from None
    return AssertionKeys.open(path)
