from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from marketpipe.ingestion.application.ingestion_planner import present_summaries
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.builders import day
from tests.support.checkpoints import answer, record
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory

DATES = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")


class UnreadableInventory(InMemoryInventory):
    def marks(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, str]:
        raise StorageError("permission denied")


def state() -> InMemoryIngestionState:
    found = InMemoryIngestionState()
    outcomes = (Outcome.COMPLETE, Outcome.PARTIAL, Outcome.FAILED, Outcome.EMPTY)
    rows = (390, 10, 7, 0)
    record(found, [answer("AAPL", *each) for each in zip(DATES, outcomes, rows, strict=True)])
    return found


def test_files_that_are_gone_do_not_count() -> None:
    recorded = state()
    (before,) = recorded.statistics.summaries()
    lost = {day("AAPL", date) for date in DATES[:2]}
    inventory = InMemoryInventory(recorded.checkpoints, lost=lost)
    (found,) = present_summaries(recorded.statistics, recorded.checkpoints, inventory)
    assert (found.complete, found.partial, found.failed, found.empty, found.missing) == (0, 0, 1, 1, 2)
    assert found.bars == before.bars - 400


def test_altered_and_unrecorded_files_change_no_summary() -> None:
    recorded = state()
    altered, unrecorded = {day("AAPL", DATES[0])}, {day("AAPL", DATES[3])}
    inventory = InMemoryInventory(recorded.checkpoints, altered=altered, unrecorded=unrecorded)
    found = present_summaries(recorded.statistics, recorded.checkpoints, inventory)
    assert list(found) == list(recorded.statistics.summaries())


def test_files_that_cannot_be_examined_count_as_recorded_and_the_reason_is_given() -> None:
    recorded = state()
    inventory = UnreadableInventory(recorded.checkpoints)
    (found,) = present_summaries(recorded.statistics, recorded.checkpoints, inventory)
    assert (found.complete, found.missing, found.error) == (1, 0, "permission denied")
