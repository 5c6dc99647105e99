"""A fifth of the answers of a bucket are lost after it has stored the object: an ingestion ends as if none were."""

from __future__ import annotations

from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path

from marketpipe import place_parts
from marketpipe.pipeline import Pipeline
from marketpipe.storage.infrastructure.objects.obstore_objects import s3_objects
from marketpipe.testing import FakeClock
from tests.support.bucket_stores import bucket_config, over
from tests.support.examples import thoroughly
from tests.support.loopback_s3 import LoopbackBucket, loopback_bucket
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, minutes
from tests.support.scripted_provider import ScriptedProvider

SYMBOLS = [f"S{number:02d}" for number in range(12)]
LOST = ["503", "", "", "", "", "reset", "", "", "", ""]


def opened(root: Path, bucket: LoopbackBucket, symbol: str) -> Pipeline:
    provider = ScriptedProvider({symbol: {date: minutes(date) for date in (TUESDAY, WEDNESDAY)}})
    config = bucket_config(root, "s3://bars/store", symbols=[symbol], start=TUESDAY, end=WEDNESDAY)
    return over(lambda _: s3_objects("bars", "store", bucket.environment), config, provider, FakeClock())


def ingested(root: Path, *answers: str) -> tuple[str, int]:
    """Return the lock of what is stored, and the requests that were made."""
    with loopback_bucket() as bucket:
        bucket.answers = [*answers]
        for symbol in SYMBOLS:
            with opened(root, bucket, symbol) as store:
                assert store.ingest().ok
        requests = bucket.requests.total()
        with opened(root, bucket, SYMBOLS[0]) as store:
            assert store.verify().ok
            named = set(place_parts.known_state(store._parts).file_catalog.objects())
            lock = store.freeze().text()
        with opened(root, bucket, SYMBOLS[0]) as store:
            store.gc(timedelta(0), alone=True)
        assert {key.removeprefix("store/") for key in bucket.objects if "/objects/" in key} == named
        return lock, requests


@thoroughly
def test_a_fifth_of_lost_answers_costs_at_most_a_third_of_the_requests_more(tmp_path: Path) -> None:
    lock, usual = ingested(tmp_path / "usual")
    of_lost, requests = ingested(tmp_path / "lost", *islice(cycle(LOST), 500))

    assert of_lost == lock
    assert usual < requests <= 1.3 * usual
