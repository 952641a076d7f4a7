"""CUIT and CUIL: eleven digits, the last of which checks the others."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"[0-9]{11}")
_WEIGHTS = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)


def is_cuit(text: str) -> bool:
    """Say whether the text is a CUIT: eleven ASCII digits with the right check digit."""
    return _DIGITS.fullmatch(text) is not None and check_digit(text[:10]) == int(text[10])


def has_form(text: str) -> bool:
    """Say whether the text is eleven ASCII digits, whatever the last one checks."""
    return _DIGITS.fullmatch(text) is not None


def check_digit(first_ten: str) -> int | None:
    """The digit that belongs to the first ten; None: there is no such CUIT."""
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(first_ten, _WEIGHTS, strict=True)) % 11
    return {11: 0, 10: None}.get(rest, rest)


def readable(cuit: str) -> str:
    """As it is written on paper: `20-11111111-2`."""
    return f"{cuit[:2]}-{cuit[2:10]}-{cuit[10:]}"
