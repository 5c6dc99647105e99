from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import define, field

from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, StorageError, StoreBusyError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsStored, BarsValidated, StoredSymbolDay
from marketpipe.storage.application.bar_handlers import BarStorer
from marketpipe.testing import bar, bars_request
from tests.support.builders import columnar, day
from tests.support.in_memory_bar_store import InMemoryBarStore

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
GOOD = bar("2024-01-02T15:00:00Z")
BAD = bar("2024-01-02T15:01:00Z", -1.0)
VALIDATED = BarsValidated(
    bars_request(["AAPL", "MSFT"], "2024-01-02", "2024-01-02"),
    columnar((AAPL, [GOOD]), (MSFT, [])),
    columnar((MSFT, [BAD])),
)


@define
class FullDisk:
    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        raise StorageError("cannot write data: No space left on device")


def test_validated_bars_are_stored_and_reported_with_their_request() -> None:
    store, bus = InMemoryBarStore(), EventBus(LoggedIsolation)
    stored: list[BarsStored] = []
    bus.subscribe(BarsStored, stored.append)

    BarStorer(store, lambda _: None, bus).on_bars_validated(VALIDATED)

    (event,) = stored
    assert event.request is VALIDATED.request
    assert [(found.symbol_day, found.rows, found.rejected) for found in event.days] == [(AAPL, 1, 0), (MSFT, 0, 1)]
    assert store.bars == {AAPL: [GOOD]}
    assert store.quarantine == {MSFT: [BAD]}


def test_what_could_not_be_stored_is_not_reported_as_stored() -> None:
    bus = EventBus(LoggedIsolation)
    stored: list[BarsStored] = []
    bus.subscribe(BarsStored, stored.append)

    with pytest.raises(StorageError, match="No space left"):
        BarStorer(FullDisk(), lambda _: None, bus).on_bars_validated(VALIDATED)

    assert stored == []


@define
class Transaction:
    """What was done inside, and how it ended."""

    steps: list[str] = field(factory=list)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.steps.append("begin")
        try:
            yield
        except Exception:
            self.steps.append("undone")
            raise
        self.steps.append("kept")


def test_the_lease_is_looked_at_again_and_all_is_recorded_in_the_transaction_that_publishes() -> None:
    store, bus, done = InMemoryBarStore(), EventBus(LoggedIsolation), Transaction()
    bus.subscribe(BarsStored, lambda _: done.steps.append("recorded"))

    BarStorer(store, lambda _: done.steps.append("leased"), bus, done).on_bars_validated(VALIDATED)

    assert done.steps == ["leased", "begin", "leased", "recorded", "kept"]
    assert store.bars == {AAPL: [GOOD]}


def test_nothing_is_kept_if_another_took_the_days_over_while_they_were_written() -> None:
    bus, done, leases = EventBus(LoggedIsolation), Transaction(), iter([None])
    bus.subscribe(BarsStored, lambda _: done.steps.append("recorded"))

    def pin(_: BarsRequest) -> None:
        if next(leases, "gone") == "gone":
            raise StoreBusyError("another process took the symbol-days over")

    with pytest.raises(StoreBusyError):
        BarStorer(InMemoryBarStore(), pin, bus, done).on_bars_validated(VALIDATED)

    assert done.steps == ["begin", "undone"]


def test_a_request_to_stop_comes_after_what_was_stored_is_kept() -> None:
    bus, done = EventBus(LoggedIsolation), Transaction()

    def stop(_: BarsStored) -> None:
        done.steps.append("recorded")
        raise IngestionInterrupted("stopped")

    bus.subscribe(BarsStored, stop)
    with pytest.raises(IngestionInterrupted):
        BarStorer(InMemoryBarStore(), lambda _: None, bus, done).on_bars_validated(VALIDATED)

    assert done.steps == ["begin", "recorded", "kept"]
