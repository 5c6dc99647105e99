"""From pages to complete symbol-days: pages are cut by the provider, symbol-days by New York dates."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars, with_lengths
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


class WholeDayAssembler:
    """Cuts the pages of one request into symbol-days by New York date. See ``SymbolDayAssembler``.

    The last symbol-day of a page is kept for the next page if more pages follow. Bars of symbols and dates that were
    not requested are dropped and counted; bars of the extended session are dropped if the regular one was requested.
    Everything works on whole columns, never bar by bar.
    """

    def __init__(self, request: BarsRequest) -> None:
        self._days, self._symbols = RequestedDays(request), frozenset(request.symbols)
        self._tail: tuple[Symbol, pa.Table] | None = None
        self._emitted: set[SymbolDay] = set()
        self._unrequested = 0

    @property
    def unrequested(self) -> int:
        return self._unrequested

    def add(self, page: RawMarketData) -> ArrowBars | None:
        self._unrequested += page.unrequested
        if not page.num_rows:
            return None
        return self._emit(self._sorted(self._joined(page)), hold_back=page.next_cursor is not None)

    def close(self) -> ArrowBars | None:
        if self._tail is None:
            return None
        symbol, table = self._tail
        return self._emit(self._rows(table, (symbol,), np.zeros(len(table), np.int64)), hold_back=False)

    def _joined(self, page: RawMarketData) -> _Rows:
        """Return the rows that were kept for this page and those of it, without what was not requested."""
        table, runs = pa.table(page.columns), [(run.symbol, run.length) for run in page.runs]
        if self._tail is not None:
            symbol, tail = self._tail
            # "default": only one of the two tables may have the column raw
            table, runs = pa.concat_tables([tail, table], promote_options="default"), [(symbol, len(tail)), *runs]
        symbols = tuple(dict.fromkeys(symbol for symbol, _ in runs))
        position = {symbol: i for i, symbol in enumerate(symbols)}
        owners = np.repeat([position[symbol] for symbol, _ in runs], [length for _, length in runs])
        return self._requested(self._rows(table, symbols, owners))

    def _rows(self, table: pa.Table, symbols: tuple[Symbol, ...], owners: Int64s) -> _Rows:
        stamps = table["timestamp"].cast(pa.int64())
        if stamps.null_count:
            # A record whose time cannot be read goes to the day of its neighbour, so that validation rejects it there.
            nearest = _nearest_valid(stamps.is_valid().to_numpy(), owners)
            stamps = stamps.fill_null(self._days.first_micros).take(pa.array(nearest))
        return _Rows(table, symbols, owners, day_numbers(stamps.to_numpy()))

    def _requested(self, rows: _Rows) -> _Rows:
        other_symbols = np.array([symbol not in self._symbols for symbol in rows.symbols], np.bool_)
        unrequested = self._days.outside(rows.days) | other_symbols[rows.owners]
        self._unrequested += int(unrequested.sum())
        dropped = unrequested | self._days.other_hours(rows.table["timestamp"], rows.days)
        return rows.pick(~dropped) if dropped.any() else rows

    @staticmethod
    def _sorted(rows: _Rows) -> _Rows:
        """Sort by symbol, then date. Within a date the provider's order stays, because validation judges it."""
        steps = np.diff(rows.owners) * 100_000 + np.diff(rows.days)  # no two dates are 100,000 days apart
        return rows if (steps >= 0).all() else rows.pick(np.lexsort((rows.days, rows.owners)))

    def _emit(self, rows: _Rows, *, hold_back: bool) -> ArrowBars | None:
        cuts = rows.cuts() if len(rows.days) else [0]
        self._tail = None
        if hold_back and len(cuts) > 1:
            end = cuts.pop()
            self._tail = rows.symbols[rows.owners[cuts[-1]]], rows.table.slice(cuts[-1], end - cuts[-1])
        if len(cuts) < 2:
            return None
        slices = tuple(self._slice(rows, a, b) for a, b in pairwise(cuts))
        return ArrowBars(rows.table.slice(0, cuts[-1]), slices)

    def _slice(self, rows: _Rows, start: int, end: int) -> SymbolDaySlice:
        number = int(rows.days[start])
        symbol_day = SymbolDay(rows.symbols[rows.owners[start]], trading_date(number))
        # A second part of a symbol-day, as in a disordered response, must be merged with the first and not replace it.
        final_window = None if symbol_day in self._emitted else self._days.final_window(number)
        self._emitted.add(symbol_day)
        return SymbolDaySlice(symbol_day, start, end - start, final_window)


class WholeAnswerAssembler:
    """Keeps the pages of one request for official days, and returns its symbol-days when it is closed.

    A bar that comes twice with the same values counts once: a walk through the pages that begins again without a
    refused symbol brings the others once more.
    """

    def __init__(self, request: BarsRequest) -> None:
        self._days, self._pages = WholeDayAssembler(request), list[RawMarketData]()

    @property
    def unrequested(self) -> int:
        return self._days.unrequested

    def add(self, page: RawMarketData) -> None:
        self._pages.append(page)

    def close(self) -> ArrowBars:
        tables = [BAR_SCHEMA.empty_table(), *(pa.table(page.columns) for page in self._pages)]
        table = pa.concat_tables(tables, promote_options="default")  # only some may have the column raw
        runs = tuple(run for page in self._pages for run in page.runs)
        unrequested = sum(page.unrequested for page in self._pages)
        found = self._days.add(RawMarketData(table, runs, unrequested=unrequested))
        return ArrowBars(BAR_SCHEMA.empty_table(), ()) if found is None else _without_repetitions(found)


def _without_repetitions(bars: ArrowBars) -> ArrowBars:
    if all(part.length == 1 for part in bars.slices):
        return bars
    rows, lengths = list[int](), list[int]()
    for part in bars.slices:
        seen = dict[str, int]()
        for row, values in enumerate(bars.table.slice(part.offset, part.length).to_pylist(), part.offset):
            seen.setdefault(repr(values), row)  # as text, in which NaN equals NaN
        rows += seen.values()
        lengths.append(len(seen))
    return ArrowBars(bars.table.take(pa.array(rows, pa.int64())), with_lengths(bars.slices, lengths))


@frozen
class _Rows:
    """Rows with, for each, the position of its symbol in ``symbols`` and the number of its New York date."""

    table: pa.Table
    symbols: tuple[Symbol, ...]
    owners: Int64s
    days: Int64s

    def pick(self, rows: npt.NDArray[Any]) -> _Rows:
        """Return the rows that a mask selects, or those with the given positions in that order."""
        picked = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return _Rows(self.table.take(pa.array(picked)), self.symbols, self.owners[picked], self.days[picked])

    def cuts(self) -> list[int]:
        """Return where each symbol-day begins, and the end of the last one."""
        changed = (np.diff(self.days) != 0) | (np.diff(self.owners) != 0)
        return [0, *(np.flatnonzero(changed) + 1).tolist(), len(self.days)]


class RequestedDays:
    """The sessions of a request, to compare with columns of timestamps (epoch microseconds) and day numbers."""

    def __init__(self, request: BarsRequest) -> None:
        self._request = request
        self.first_micros = request.window.start.epoch_micros
        self._numbers = day_numbers(np.array([s.window.start.epoch_micros for s in request.sessions], np.int64))
        self._position = {int(number): i for i, number in enumerate(self._numbers)}

    def outside(self, days: Int64s) -> Bools:
        """Return which days are before the first session or after the last."""
        outside: Bools = (days < self._numbers[0]) | (days > self._numbers[-1])
        return outside

    def other_hours(self, timestamps: pa.ChunkedArray, days: Int64s) -> Bools:
        """Return which bars are of other hours although only the regular session, with its auction, was requested."""
        if self._request.session_kind is SessionKind.EXTENDED:
            return np.zeros(len(days), np.bool_)
        stamps = pc.fill_null(timestamps.cast(pa.int64()), self.first_micros).to_numpy()
        slot = np.clip(np.searchsorted(self._numbers, days), 0, len(self._numbers) - 1)
        wanted, extended = self._bounds
        valid = timestamps.is_valid().to_numpy() & (self._numbers[slot] == days)
        other: Bools = valid & _within(stamps, extended[slot]) & ~_within(stamps, wanted[slot])
        return other

    def final_window(self, number: int) -> TimeWindow | None:
        """Return the window of a day for which the provider's response is complete and final, None if it is not."""
        position = self._position.get(number)
        if position is None or not self._request.sessions[position].final:
            return None
        return self._request.sessions[position].window

    @cached_property
    def _bounds(self) -> tuple[Int64s, Int64s]:
        """The start and the end of each regular session with its closing auction, and of each extended session."""
        sessions = self._request.sessions
        both = [_with_auction(asked) for asked in sessions], [asked.session.extended for asked in sessions]
        wanted, extended = (np.array([(w.start.epoch_micros, w.end.epoch_micros) for w in each]) for each in both)
        return wanted, extended


def _with_auction(asked: AskedSession) -> TimeWindow:
    """A window that ends before the close is of a session that goes on: bars after it are for validation to judge."""
    return TimeWindow(asked.session.opens, max(asked.session.closes, asked.window.end))


def _within(stamps: Int64s, bounds: Int64s) -> Bools:
    return (bounds[:, 0] <= stamps) & (stamps < bounds[:, 1])


def _nearest_valid(valid: Bools, owners: Int64s) -> Int64s:
    """Return for each row itself if valid, or else the valid row of its symbol before it, or else the one after it."""
    rows = np.arange(len(valid))
    before = np.maximum.accumulate(np.where(valid, rows, 0))
    after = np.minimum.accumulate(np.where(valid, rows, len(valid) - 1)[::-1])[::-1]
    return np.where(valid[before] & (owners[before] == owners), before, np.where(owners[after] == owners, after, rows))
