"""The bucket of a store does not answer: every command says so, calls nothing damaged, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from marketpipe import place_parts
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import StoreUnreachableError
from marketpipe.storage.infrastructure.objects.object_store import StoredObject
from marketpipe.testing import FakeClock, bar
from tests.support.bucket_stores import bucket_config, over
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, minutes
from tests.support.scripted_provider import ScriptedProvider

SYMBOLS, DATES = ["AAPL", "AMZN", "MSFT", "NVDA"], [TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]
PROBES = 3
"""Before the first pack two objects are put under one key, to see whether the server keeps the first one, and one that
says where the state is."""
SAID = "the server did not answer; check the network"


class Bucket(InMemoryObjectStore):
    """``puts_left`` packs are put, then the server does not answer; None: it always does. ``refused`` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.puts_left: int | None = None
        self.refused = 0

    def put_new(self, key: str, content: bytes) -> bool:
        if self.puts_left:
            self.puts_left -= 1
        else:
            self._answer(key)
        return super().put_new(key, content)

    def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        self._answer(key)
        return super().get(key, offset, size)

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        self._answer(prefix)
        return super().listed(prefix)

    def delete(self, keys: Collection[str]) -> None:
        self._answer("some")
        super().delete(keys)

    def _answer(self, key: str) -> None:
        if self.puts_left == 0:
            self.refused += 1
            raise StoreUnreachableError(f"cannot use s3://bucket/bars/{key}: {SAID}")


def provider(symbols_per_request: int = 200, *, has_days: bool = True) -> ScriptedProvider:
    bars = {symbol: {date: minutes(date, 6) for date in DATES} for symbol in SYMBOLS}
    daily = {symbol: {date: bar(f"{date}T05:00:00Z", 100.0) for date in DATES} for symbol in SYMBOLS}
    official = daily if has_days else None
    return ScriptedProvider(bars, official=official, page_size=48, symbols_per_request=symbols_per_request)


def opened(root: Path, bucket: Bucket, asked: ScriptedProvider | None = None) -> Pipeline:
    timeframes = [] if asked else ["5m", "1d"]
    config = bucket_config(root, symbols=SYMBOLS, start=TUESDAY, end=FRIDAY, workers=1, timeframes=timeframes)
    return over(lambda _: bucket, config, asked or provider(), FakeClock())


def stored_days(store: Pipeline) -> set[str]:
    """Return the symbol-days, as a provider's ``asked`` has them."""
    paths = (file.path for file in place_parts.known_state(store._parts).file_catalog.below("data"))
    parts = (re.findall(r"=([^/.]+)", path) for path in paths)
    return {f"{symbol} {year}-{month}-{number}" for symbol, year, month, number in parts}


@pytest.mark.parametrize(
    ("symbols_per_request", "puts", "days"),
    [
        (200, PROBES - 1, 0),
        (200, PROBES, 0),
        (200, PROBES + 1, 8),
        (1, PROBES, 0),
        (1, PROBES + 1, 4),
        (1, PROBES + 3, 12),
    ],
)
def test_an_ingestion_ends_with_the_first_outage_and_the_next_one_asks_for_the_rest(
    tmp_path: Path, symbols_per_request: int, puts: int, days: int
) -> None:
    """What is waited for a minute is not waited for again, for each day or each batch."""
    usual, bucket = Bucket(), Bucket()
    with opened(tmp_path / "usual", usual, provider(has_days=False)) as store:
        assert store.ingest().ok
        lock = store.freeze().text()
    with opened(tmp_path, bucket, provider(symbols_per_request, has_days=False)) as store:
        bucket.puts_left = puts
        with pytest.raises(StoreUnreachableError, match=SAID):
            store.ingest()
        assert bucket.refused == (1 if puts >= PROBES else 2)
        bucket.puts_left = None
        stored = stored_days(store)

    again = provider(symbols_per_request, has_days=False)
    with opened(tmp_path, bucket, again) as store:
        assert store.ingest().ok
        assert store.freeze().text() == lock
        assert store.verify().ok
    everything = {f"{symbol} {date}" for symbol in SYMBOLS for date in DATES}
    assert (len(stored), set(again.asked)) == (days, everything - stored)


READING: dict[str, Callable[[Pipeline], object]] = {
    "verify": lambda store: store.verify(),
    "freeze": lambda store: store.freeze(),
    "validate": lambda store: store.validate(),
    "audit": lambda store: store.audit(start=TUESDAY),
    "load": lambda store: store.load("AAPL", TUESDAY, FRIDAY),
    "load as of": lambda store: store.load("AAPL", TUESDAY, FRIDAY, as_of="2031-01-01T00:00:00Z"),
    "load daily": lambda store: store.load("AAPL", TUESDAY, FRIDAY, "1d"),
    "query": lambda store: store.query("SELECT count(*) FROM bars"),
    "query daily": lambda store: store.query("SELECT count(*) FROM bars_1d"),
    "coverage": lambda store: store.coverage(),
    "compact": lambda store: store.compact(),
    "gc": lambda store: store.gc(),
}


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_says_that_the_bucket_is_away_and_calls_nothing_damaged(
    tmp_path: Path, command: str
) -> None:
    bucket = Bucket()
    with opened(tmp_path, bucket) as store:
        assert store.ingest().ok
    with opened(tmp_path, bucket) as store:
        bucket.puts_left = 0
        with pytest.raises(StoreUnreachableError, match=SAID):
            READING[command](store)
    bucket.puts_left = None
    with opened(tmp_path, bucket) as store:
        assert store.plan().planned == 0
        assert store.verify().ok


def test_what_needs_no_file_answers_without_the_bucket(tmp_path: Path) -> None:
    bucket = Bucket()
    with opened(tmp_path, bucket) as store:
        assert store.ingest().ok
        bucket.puts_left = 0
        assert [str(each.symbol) for each in store.status().symbols] == SYMBOLS
        assert store.plan().planned == 0
        assert store.ingest().ok
    assert bucket.refused == 0
