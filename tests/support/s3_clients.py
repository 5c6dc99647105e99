"""Objects in a bucket of this machine. A client reads the environment of its process: here each is told all instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count

from attrs import evolve
from obstore.store import S3Store

from marketpipe.shared_kernel.infrastructure.machine.machine import HERE
from marketpipe.storage.infrastructure.objects.obstore_objects import NO_RETRY, ObstoreObjects
from tests.support.loopback_s3 import KEYS, LoopbackBucket


def objects_of(
    bucket: LoopbackBucket,
    on_request: Callable[[str], object] = lambda _: None,
    times: Iterator[float] | None = None,
) -> ObstoreObjects:
    """``times`` are those that its clock shows, one after the other; it waits for nothing."""
    clients = [
        S3Store(
            "bars",
            prefix="a/store",
            endpoint=bucket.url,
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region=KEYS["AWS_REGION"],
            client_options={"allow_http": True, "timeout": "20s"},
            retry_config=retries,
        )
        for retries in ({"max_retries": 2, "retry_timeout": timedelta(seconds=5)}, NO_RETRY)
    ]
    shown = times or count(0.0, 0.001)
    machine = evolve(HERE, pause=lambda _: None, monotonic=lambda: next(shown))
    return ObstoreObjects(clients[0], "s3://bars/a/store", machine, on_request, once=clients[1])
