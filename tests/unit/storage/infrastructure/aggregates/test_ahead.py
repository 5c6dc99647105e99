"""What an ingestion makes of the bars in its memory is what a refresh makes of the files, to the byte and the time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from marketpipe.observers import Isolation
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import AggregatesRefreshed, BarsExhausted, BarsStored, BarsValidated, JobFinished
from marketpipe.storage.infrastructure.aggregates.ahead import AggregatesAhead
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, columnar, day
from tests.support.store_on_disk import AGGREGATED, NOTHING, StoreOnDisk

MADE = (*AGGREGATED, Timeframe.MINUTE_1)
"""With read copies, which are files of one minute."""
DATES = ("2023-12-28", "2023-12-29", "2024-01-02", "2024-01-03", "2024-02-01")


def made_ahead(store: StoreOnDisk) -> AggregatesAhead:
    return AggregatesAhead(store.aggregates, MADE, EventBus(Isolation()), nullcontext)


class Ingestion:
    """A batch that stores what it is given, with aggregates made ahead."""

    def __init__(self, store: StoreOnDisk, dates: Sequence[str] = DATES, ahead: AggregatesAhead | None = None) -> None:
        sessions = [CALENDAR.sessions(date, date)[0] for date in map(TradingDate.parse, dates)]
        asked = tuple(AskedSession(session, session.extended, final=True) for session in sessions)
        self._request = BarsRequest(1, (Symbol("AAPL"), Symbol("MSFT")), asked)
        self._store, self._ahead = (
            store,
            ahead or AggregatesAhead(store.aggregates, MADE, EventBus(Isolation()), nullcontext),
        )

    def keep(self, *parts: tuple[SymbolDay, list[dict[str, object]]], whole: bool = True) -> None:
        bars = columnar(*parts, whole=whole)
        self._ahead.on_bars_stored(BarsStored(self._request, self._store.partitions.store(bars, NOTHING)))
        self._ahead.on_bars_validated(BarsValidated(self._request, bars, NOTHING))

    def end(self) -> None:
        self._ahead.on_bars_exhausted(BarsExhausted(self._request))


def minutes(symbol: str, date: str, *prices: float) -> tuple[SymbolDay, list[dict[str, object]]]:
    rows = [bar(f"{date}T15:{minute:02d}:00Z", price) for minute, price in enumerate(prices or (10.0, 11.0, 9.0))]
    return day(symbol, date), rows


def made(store: StoreOnDisk) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every file that was made of minutes."""
    roots = store.layout.aggregates, store.layout.copies
    files = [path for root in roots for path in root.rglob("*.*") if path.is_file()]
    return {str(path.relative_to(store.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(files)}


def rebuilt(store: StoreOnDisk) -> dict[str, tuple[bytes, int]]:
    for path in made(store):
        (store.root / path).unlink()
    for symbol in ("AAPL", "MSFT"):
        store.refresh(symbol, MADE)
    return made(store)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("closing_auction", [None, 0])
def test_all_files_are_those_of_a_refresh(tmp_path: Path, form: str, closing_auction: int | None) -> None:
    store = StoreOnDisk(tmp_path, copy_format=form, closing_auction=closing_auction)
    ingestion = Ingestion(store)
    ingestion.keep(*(minutes("AAPL", date) for date in DATES), *(minutes("MSFT", date) for date in DATES[:3]))
    ingestion.keep(*(minutes("MSFT", date, 5.0) for date in DATES[3:]))
    ingestion.end()
    found = made(store)

    assert [store.refresh(symbol, MADE).written for symbol in ("AAPL", "MSFT")] == [0, 0]
    assert len(found) == 2 * (6 * 3 + 2)
    assert found == rebuilt(store)


def test_a_symbol_without_bars_on_the_last_date_is_made_when_the_provider_has_no_more(tmp_path: Path) -> None:
    ingestion = Ingestion(store := StoreOnDisk(tmp_path))
    ingestion.keep(minutes("AAPL", "2024-01-02"), minutes("AAPL", "2024-01-03"))
    before = made(store)
    ingestion.end()

    assert not before
    assert store.refresh("AAPL", MADE).written == 0


def test_no_day_file_is_read(tmp_path: Path) -> None:
    ingestion = Ingestion(store := StoreOnDisk(tmp_path), DATES[2:4])
    parts = [minutes("AAPL", date) for date in DATES[2:4]]
    ingestion.keep(parts[0])
    path, found = store.path(parts[0][0]), store.path(parts[0][0]).stat()
    path.write_bytes(b"x" * found.st_size)
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
    ingestion.keep(parts[1])
    ingestion.end()

    assert len(made(store)) == 7


def test_a_month_with_days_of_an_earlier_ingestion_is_left_to_the_refresh(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(minutes("AAPL", "2024-01-02"))
    ingestion = Ingestion(store, DATES[3:])
    ingestion.keep(minutes("AAPL", "2024-01-03"), minutes("AAPL", "2024-02-01"))
    ingestion.end()

    assert {name.split("/")[-1].split(".")[0] for name in made(store)} == {"month=02"}
    assert store.refresh("AAPL", MADE).written == 7
    assert made(store) == rebuilt(store)


def test_a_year_with_earlier_months_that_are_fresh_is_extended(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(minutes("AAPL", "2024-01-02"))
    store.refresh("AAPL", MADE)
    ingestion = Ingestion(store, DATES[4:])
    ingestion.keep(minutes("AAPL", "2024-02-01"))
    ingestion.end()

    assert store.refresh("AAPL", MADE).written == 0
    assert made(store) == rebuilt(store)


def test_bars_that_were_merged_with_stored_ones_are_left_to_the_refresh(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(minutes("AAPL", "2024-01-02", 1.0, 2.0, 3.0), whole=False)
    ingestion = Ingestion(store, DATES[2:3])
    ingestion.keep(minutes("AAPL", "2024-01-02", 7.0), whole=False)
    ingestion.end()

    assert not made(store)


def test_a_file_that_cannot_be_written_is_left_to_the_refresh(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    ingestion = Ingestion(store, DATES[2:3])
    store.layout.aggregates.write_text("not a folder")
    ingestion.keep(minutes("AAPL", "2024-01-02"))
    ingestion.end()
    store.layout.aggregates.unlink()

    assert store.refresh("AAPL", MADE).written == 7


def test_what_a_batch_left_that_ended_with_an_error_is_not_taken_for_the_next(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    ahead = made_ahead(store)
    Ingestion(store, DATES[2:4], ahead).keep(minutes("AAPL", "2024-01-02"))
    ingestion = Ingestion(store, DATES[3:4], ahead)
    ingestion.keep(minutes("AAPL", "2024-01-03"))
    ingestion.end()

    assert not made(store)


def test_a_file_of_newer_minutes_is_not_replaced(tmp_path: Path) -> None:
    ingestion = Ingestion(store := StoreOnDisk(tmp_path), DATES[2:3])
    ingestion.keep(minutes("AAPL", "2024-01-02"))
    store.keep(minutes("AAPL", "2024-01-02", 7.0), minutes("AAPL", "2024-03-04"))
    store.refresh("AAPL", MADE)
    before = made(store)
    ingestion.end()

    assert made(store) == before
    assert before == rebuilt(store)


def test_while_another_aggregation_runs_a_job_waits_for_it_once_and_leaves_all_to_the_refresh(tmp_path: Path) -> None:
    waits = list[str]()

    @contextmanager
    def busy() -> Iterator[None]:
        waits.append("once more")
        raise StoreBusyError("another process aggregates")
        yield

    store = StoreOnDisk(tmp_path)
    ahead = AggregatesAhead(store.aggregates, MADE, EventBus(Isolation()), busy)

    def ingest(date: str) -> None:
        ingestion = Ingestion(store, [date], ahead)
        ingestion.keep(minutes("AAPL", date))
        ingestion.end()

    for date in DATES[2:4]:
        ingest(date)
    assert not made(store)
    assert len(waits) == 1

    ahead.on_aggregates_refreshed(AggregatesRefreshed(0, 0))
    ingest(DATES[4])
    assert len(waits) == 2


def test_nothing_is_removed_or_given_another_time_before_files_are_published(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(minutes("AAPL", "2024-01-02"), minutes("AAPL", "2024-02-01"))
    store.refresh("AAPL", MADE)
    for path in store.layout.aggregates.rglob("month=02.parquet"):
        os.utime(path, ns=(1, 1))
    store.copy_format = "arrow"
    ingestion = Ingestion(store, DATES[4:])
    before = made(store)
    ingestion.keep(minutes("AAPL", "2024-02-01"))
    assert made(store) == before
    ingestion.end()

    assert sorted(path.name for path in store.layout.copies.rglob("*.*")) == ["month=01.parquet", "month=02.arrow"]


def test_years_are_made_by_the_thread_of_the_maker_which_ends_with_it(tmp_path: Path) -> None:
    store, threads = StoreOnDisk(tmp_path), list[str]()
    maker = ThreadPoolExecutor(1, "the-maker", lambda: threads.append(threading.current_thread().name))
    ahead = AggregatesAhead(store.aggregates, MADE, EventBus(Isolation()), nullcontext, maker)
    ingestion = Ingestion(store, ahead=ahead)
    ingestion.keep(*(minutes("AAPL", date) for date in DATES))
    ingestion.end()
    ahead.close()

    assert threads == ["the-maker_0"]
    assert store.refresh("AAPL", MADE).written == 0
    with pytest.raises(RuntimeError, match="shutdown"):
        maker.submit(int)


@pytest.mark.parametrize("together_bytes", [1, 1_000_000])
def test_files_of_several_batches_wait_for_each_other_where_a_group_costs_a_request(
    tmp_path: Path, together_bytes: int
) -> None:
    store = StoreOnDisk(tmp_path)
    ahead = AggregatesAhead(store.aggregates, MADE, EventBus(Isolation()), nullcontext, together_bytes=together_bytes)
    for symbol in ("AAPL", "MSFT"):
        batch = Ingestion(store, ["2024-01-02"], ahead)
        batch.keep(minutes(symbol, "2024-01-02"))
        batch.end()
        is_published = any(f"symbol={symbol}" in path for path in made(store))
        assert is_published is (together_bytes == 1)

    ahead.on_job_finished(JobFinished(1, "alpaca", "completed"))

    there = made(store)
    assert {path.split("symbol=")[1][:4] for path in there} == {"AAPL", "MSFT"}
    assert there == rebuilt(store)
    ahead.on_job_finished(JobFinished(2, "alpaca", "completed"))
    assert made(store) == there
