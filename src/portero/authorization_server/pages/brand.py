"""The style sheet with an operator's brand in it: one colour in, legible ones out, in light and dark.

An operator picks any colour; a person must still be able to read (WCAG 2.2 §1.4.3: contrast of
at least 4.5). The colour is darkened on white, lightened on the dark background, until it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_LIGHT_BACKGROUND = (243, 245, 244)
_DARK_BACKGROUND = (29, 33, 36)
"""Of the page's and the panel's colours in portero.css the one that is closer to the brand's."""
MINIMUM_CONTRAST = 4.5

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class StyleSheet:
    """The bytes, and a name that changes with them, so that they may be cached for a year."""

    name: str
    body: bytes


@lru_cache(maxsize=4)
def style_sheet(brand_color: str) -> StyleSheet:
    """Return the style sheet for a brand.

    Args:
        brand_color: `#rrggbb`, as configuration checked it.
    """
    body = (_variables(brand_color) + Path(__file__).with_name("portero.css").read_text("utf-8")).encode()
    return StyleSheet(f"portero.{hashlib.sha256(body).hexdigest()[:16]}.css", body)


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def legible(color: Rgb, *, on: Rgb) -> Rgb:
    """Move a colour away from its background until it can be read there."""
    target = 255 if _luminance(on) < 0.5 else 0
    red, green, blue = color
    for step in range(21):
        share = step / 20
        moved = (_mix(red, target, share), _mix(green, target, share), _mix(blue, target, share))
        if contrast(moved, on) >= MINIMUM_CONTRAST:
            return moved
    return (target, target, target)


def parse_color(text: str) -> Rgb:
    """Read `#rrggbb`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _variables(brand_color: str) -> str:
    brand = parse_color(brand_color)
    light = legible(brand, on=_LIGHT_BACKGROUND)
    dark = legible(brand, on=_DARK_BACKGROUND)
    return (
        f":root{{--brand:{_hex(light)};--on-brand:{_hex(_text_on(light))}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{--brand:{_hex(dark)};--on-brand:{_hex(_text_on(dark))}}}}}\n"
    )


def _text_on(color: Rgb) -> Rgb:
    white, ink = (255, 255, 255), (16, 20, 22)
    return white if contrast(color, white) >= contrast(color, ink) else ink


def _luminance(color: Rgb) -> float:
    red, green, blue = (_linear(channel / 255) for channel in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _mix(channel: int, target: int, share: float) -> int:
    return round(channel + (target - channel) * share)


def _hex(color: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
