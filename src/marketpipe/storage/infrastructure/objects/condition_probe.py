"""Whether a server keeps an object that exists if another one is put under its key on the condition that there is none.

Some ignore that condition without a word, and then two writers can lose each other's bars. Such a server is refused.
"""

from __future__ import annotations

from typing import Final

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore

PROBES: Final = "probes/"
FIRST, SECOND = b"the first", b"another"


def probe_conditions(store: ObjectStore, place: str, name: str) -> None:
    """Put two objects under one key, which is made of a ``name`` that was never used, and remove what is there then.

    Raises ``ConfigurationError`` if the server let the second one replace the first one, and ``StorageError``.
    """
    key = f"{PROBES}{name}"
    store.put_new(key, FIRST)
    try:
        is_refused = not store.put_new(key, SECOND) and store.get(key) == FIRST
    finally:
        store.delete([key])
    if not is_refused:
        raise ConfigurationError(
            f"the server of {place} ignores conditional writes (If-None-Match): two writers could lose each other's "
            "bars. Nothing was written; use another server, such as that of Amazon, SeaweedFS or MinIO"
        )
