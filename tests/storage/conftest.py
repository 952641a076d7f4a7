"""What the storage tests share."""

from __future__ import annotations

import pytest

# So that a law that fails shows both sides.
pytest.register_assert_rewrite("portero.testing.store_laws")
