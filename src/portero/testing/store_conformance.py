"""What every store keeps to: subclass, give a `make_store` fixture, and pytest runs the laws.

```python
from portero.testing.store_conformance import StoreConformance

class TestMyStore(StoreConformance):
    @pytest.fixture
    def make_store(self):
        async def make(): return await MyStore.open(…)   # each call: another handle
        return make
```

Every call of `make_store` must answer with an open store; the first one of a test on an
empty database. A store of which several handles share one database also keeps to
`SharedStoreConformance`. Concurrency is real: the laws start many transitions at once and
judge only what was committed.
"""

from __future__ import annotations

from portero.testing.store_laws.expiry import ExpiryLaws, FeedLaws
from portero.testing.store_laws.outbox import OutboxLaws
from portero.testing.store_laws.records import RecordLaws
from portero.testing.store_laws.serialized import SerializedLaws
from portero.testing.store_laws.shared import SharedLaws
from portero.testing.store_laws.steps import MakeStore

__all__ = ["MakeStore", "SharedStoreConformance", "StoreConformance"]


class StoreConformance(RecordLaws, SerializedLaws, ExpiryLaws, FeedLaws, OutboxLaws):
    """The laws of one store."""


class SharedStoreConformance(SharedLaws):
    """The laws of several handles (servers, a command line) on one database."""
