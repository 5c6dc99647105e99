"""The provider's bars of the symbol-days that are about to be stored, split and measured for many days at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, DayFigures, SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import NOON, TradedMinutes
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.storage.infrastructure.day_versions import are_in_order, in_order
from marketpipe.storage.infrastructure.parquet_files import (
    Int64s,
    read_rows,
    times_of,
    traded_minutes,
    traded_minutes_of,
    versioned,
)


@frozen
class DayBars:
    """Bars of one symbol-day as a file has them, ascending; ``times`` in microseconds since 1970."""

    table: pa.Table = field(repr=False)
    times: Int64s = field(repr=False)
    minutes: TradedMinutes
    figures: DayFigures | None

    def __len__(self) -> int:
        return len(self.times)


@frozen
class Arrived:
    """The provider's bars of one symbol-day, accepted and rejected; ``path`` is where its day file belongs."""

    part: SymbolDaySlice
    path: Path
    accepted: DayBars
    rejected: pa.Table | None = field(repr=False)

    @property
    def day(self) -> SymbolDay:
        return self.part.symbol_day


@frozen
class ArrivedDays:
    """Splits the bars of an answer by symbol-day. ``path_of`` tells where a day file belongs."""

    calculator: FigureCalculator
    path_of: Callable[[SymbolDay], Path]

    def of(self, accepted: ColumnarBars, rejected: ColumnarBars) -> list[Arrived]:
        """Split by symbol-day. What can be computed for many days at once is: numpy and Arrow take as long for one."""
        bad, parts = pa.table(rejected), accepted.slices
        bad_of = {part.symbol_day: bad.slice(part.offset, part.length) for part in rejected.slices}
        return [
            Arrived(part, self.path_of(part.symbol_day), bars, bad_of.get(part.symbol_day))
            for part, bars in zip(parts, self._bars_of(versioned(pa.table(accepted)), parts), strict=True)
        ]

    def _bars_of(self, table: pa.Table, parts: Sequence[SymbolDaySlice]) -> Iterator[DayBars]:
        """Yield the bars of each part. ``parts`` are contiguous."""
        times, lengths = times_of(table), [part.length for part in parts]
        dates = [part.symbol_day.trading_date for part in parts]
        minutes, figures = traded_minutes_of(dates, lengths, times), self.calculator.of_days(dates, lengths, table)
        ascends = are_in_order(times, lengths)
        for part, traded, sums, is_ordered in zip(parts, minutes, figures, ascends, strict=True):
            rows = slice(part.offset, part.offset + part.length)
            bars = DayBars(table.slice(part.offset, part.length), times[rows], traded, sums)
            yield bars if is_ordered else self.day_bars(part.symbol_day, in_order(bars.table))

    def day_bars(self, day: SymbolDay, table: pa.Table) -> DayBars:
        times, date = times_of(table), day.trading_date
        return DayBars(table, times, traded_minutes(date, times), self.calculator.of_day(date, table))


def rejected_after(item: Arrived, quarantined: Path | None, disk: Disk) -> pa.Table | None:
    """Return the quarantined bars of a day from now on; None for none. ``quarantined`` is the file that exists.

    A complete answer replaces what was quarantined of its window; an incomplete one only adds to it.
    """
    part, rejected, kept = item.part, item.rejected, None
    if quarantined is not None:
        with suppress(PartitionUnreadableError):  # a quarantine that can't be read any more blocks nothing
            kept = _outside(read_rows(quarantined, disk), part)
    if kept is None or not len(kept):
        return rejected
    return kept if rejected is None else joined_rejections(kept, rejected)


def joined_rejections(stored: pa.Table, newer: pa.Table) -> pa.Table:
    """Return every rejected bar once, in the order in which they came."""
    rows = [*stored.to_pylist(), *newer.to_pylist()]
    distinct = {repr(row): row for row in rows}  # as text, in which NaN equals NaN
    return pa.Table.from_pylist(list(distinct.values()), schema=newer.schema)


def _outside(rejected: pa.Table, part: SymbolDaySlice) -> pa.Table:
    """Return the bars outside the answer's window. Bars without a readable time go with the regular session."""
    window = part.final_window
    if window is None:
        return rejected
    start, end = (pa.scalar(edge.moment, rejected["timestamp"].type) for edge in (window.start, window.end))
    elsewhere = pc.or_(pc.less(rejected["timestamp"], start), pc.greater_equal(rejected["timestamp"], end))
    return rejected.filter(pc.fill_null(elsewhere, not covers_regular_hours(part)))


def covers_regular_hours(part: SymbolDaySlice) -> bool:
    """Whether the answer is complete for the regular session, and not only for the hours around it."""
    return part.final_window is not None and part.final_window.contains(part.symbol_day.trading_date.at(NOON))
