"""The run's manifest: that of the shop, with this run's layout and ports."""

from __future__ import annotations

import re
from pathlib import Path

from examples.shop.settings import Settings

ENVIRON_NAME = "SHOP_FEED_SECRET"
_WRITTEN = Path(__file__).with_name("portero.toml")


def write_manifest(shop: Settings) -> None:
    """Write it into the run's folder."""
    text = _WRITTEN.read_text(encoding="utf-8")
    text = text.replace('layout = "middleware"', f'layout = "{shop.layout}"', 1)
    ports = {
        "9000": shop.authorization_port,
        "8101": shop.orders_port,
        "8102": shop.inventory_port,
        "8103": shop.shipping_port,
        "8080": shop.page_port,
        "8000": shop.gateway_port,
        "9100": shop.gateway_admin_port,
    }
    # All at once: one run's port may be another's well-known one.
    text = re.sub(r"(?<=:)(" + "|".join(ports) + r")(?=\")", lambda found: str(ports[found[1]]), text)
    shop.manifest_file.write_text(text, encoding="utf-8")
