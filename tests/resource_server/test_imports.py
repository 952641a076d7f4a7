"""What a service pays for the Guard: nothing it did not ask for (invariant 3)."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNWANTED = (
    "portero.adapters.storage",
    "portero.adapters.passwords",
    "sqlalchemy",
    "alembic",
    "argon2",
    "jinja2",
    "starlette",
    "fastapi",
    "flask",
    "werkzeug",
    "django",
    "grpc",
    "click",
)


@pytest.mark.parametrize(
    "module", ["portero.resource_server", "portero.resource_server.asgi", "portero.resource_server.wsgi"]
)
def test_the_guard_brings_in_no_storage_no_templates_and_no_framework(module: str) -> None:
    """Seen from a fresh interpreter."""
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert [name for name in loaded if name.startswith(UNWANTED)] == []


def test_django_alone_does_not_bring_in_rest_framework() -> None:
    """REST framework's adapter is a module of its own."""
    program = "import sys, portero.resource_server.django; print('\\n'.join(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert [name for name in loaded if name.startswith("rest_framework")] == []
