from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import define

from marketpipe.ingestion.application.ingestion_planner import examine
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, VersionCondition
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.checkpoints import CHECKED_AT, answer, record
from tests.support.in_memory_ingestion_state import InMemoryCheckpoints, InMemoryIngestionState, Memory
from tests.support.in_memory_inventory import InMemoryInventory

AAPL, DATE = Symbol("AAPL"), TradingDate.parse("2024-01-02")
Recorded = Mapping[TradingDate, RecordedVersion]


class BeingIngested(InMemoryCheckpoints):
    """Another process records a version after each of the first readings."""

    def __init__(self, memory: Memory, left: int) -> None:
        super().__init__(memory)
        self.left, self.readings = left, 0

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, IngestionCheckpoint]:
        found, self.readings = super().between(symbol, first, last), self.readings + 1
        if self.left:
            self.left -= 1
            self.record(1, CHECKED_AT, [answer("AAPL", "2024-01-02", sha=f"{self.left:064}")])
        return found


@define
class Published(InMemoryInventory):
    """A file of the latest version: one that is not recorded yet differs from its record."""

    latest: str = f"{0:064}"

    def conditions(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, recorded: Recorded
    ) -> Mapping[TradingDate, VersionCondition]:
        return {day: VersionCondition.ALTERED for day, version in recorded.items() if version.sha256 != self.latest}


def examined(changes: int) -> tuple[Mapping[TradingDate, VersionCondition], int]:
    memory = Memory()
    state, checkpoints = InMemoryIngestionState(memory=memory), BeingIngested(memory, changes)
    record(state, [answer("AAPL", "2024-01-02", sha="f" * 64)])
    _, conditions = examine(AAPL, DATE, DATE, checkpoints, Published(checkpoints))
    return conditions, checkpoints.readings


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_a_file_that_is_recorded_while_it_is_examined_is_not_altered(changes: int) -> None:
    assert examined(changes)[0] == {}


def test_a_file_that_still_differs_when_its_record_is_read_again_is_altered() -> None:
    assert examined(0) == ({DATE: VersionCondition.ALTERED}, 2)


def test_a_state_that_never_stops_changing_is_not_read_for_ever() -> None:
    conditions, readings = examined(1000)

    assert conditions == {DATE: VersionCondition.ALTERED}
    assert readings < 10
