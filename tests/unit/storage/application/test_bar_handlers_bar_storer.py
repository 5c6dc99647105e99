from __future__ import annotations

import pytest
from attrs import define

from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.errors import StorageError
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
