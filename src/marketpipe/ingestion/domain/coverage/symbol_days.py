from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from marketpipe.ingestion.domain.coverage.habits import Profiles
from marketpipe.ingestion.domain.coverage.session_grid import SessionGrid
from marketpipe.ingestion.domain.day_record import DayRecord
from marketpipe.shared_kernel.domain.store_inventory import FileCondition
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate


@frozen
class SymbolDays:
    """All that is known of one symbol in the sessions of a grid, each sequence with one entry a session.

    ``conditions`` are those of the files that are not as they were recorded. ``lives_before`` and ``lives_after`` say
    whether the symbol has bars on dates before the first session or after the last.
    """

    symbol: Symbol
    records: Sequence[DayRecord | None] = field(repr=False)
    conditions: Mapping[TradingDate, FileCondition]
    lives_before: bool = False
    lives_after: bool = False

    @classmethod
    def of(
        cls,
        symbol: Symbol,
        grid: SessionGrid,
        records: Mapping[TradingDate, DayRecord],
        conditions: Mapping[TradingDate, FileCondition],
        life: tuple[TradingDate, TradingDate] | None = None,
    ) -> SymbolDays:
        """``life``: the dates of its first and last stored bars, wherever they lie; None where it has none."""
        before = life is not None and bool(grid.dates) and life[0] < grid.dates[0]
        after = life is not None and bool(grid.dates) and life[1] > grid.dates[-1]
        return cls(symbol, [records.get(date) for date in grid.dates], conditions, before, after)

    def profiles(self, grid: SessionGrid) -> Profiles:
        """Of the sessions that are complete and whose file has not changed."""
        found: list[int | None] = [
            None
            if record is None or record.minutes is None or record.outcome is not Outcome.COMPLETE
            else item.regular(record.minutes)
            for item, record in zip(grid.sessions, self.records, strict=True)
        ]
        for position, date in enumerate(grid.dates):
            if self.conditions and date in self.conditions:
                found[position] = None
        return found

    def cut(self, part: slice) -> SymbolDays:
        return evolve(self, records=self.records[part])

    def silent(self) -> list[int]:
        return [i for i, record in enumerate(self.records) if record and record.outcome is Outcome.EMPTY]
