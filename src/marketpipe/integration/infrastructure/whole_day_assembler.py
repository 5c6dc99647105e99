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
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


class AskedDays:
    """The sessions of a request, ready to be held against columns of timestamps and day numbers."""

    def __init__(self, request: BarsRequest) -> None:
        self._request = request
        self.first_micros = request.window.start.epoch_micros
        self._numbers = day_numbers(np.array([s.window.start.epoch_micros for s in request.sessions], np.int64))
        self._position = {int(number): i for i, number in enumerate(self._numbers)}

    def outside(self, days: Int64s) -> Bools:
        """Before the first session or after the last."""
        outside: Bools = (days < self._numbers[0]) | (days > self._numbers[-1])
        return outside

    def other_hours(self, timestamps: pa.ChunkedArray, days: Int64s) -> Bools:
        """Bars of the extended session that came along though the regular one was wanted."""
        if self._request.session_kind is SessionKind.EXTENDED:
            return np.zeros(len(days), np.bool_)
        stamps = pc.fill_null(timestamps.cast(pa.int64()), self.first_micros).to_numpy()
        slot = np.clip(np.searchsorted(self._numbers, days), 0, len(self._numbers) - 1)
        regular, extended = self._regular, self._extended
        session = self._numbers[slot] == days
        known = timestamps.is_valid().to_numpy()
        other: Bools = known & session & _within(stamps, extended[slot]) & ~_within(stamps, regular[slot])
        return other

    def whole_window(self, number: int) -> TimeWindow | None:
        """For which hours of that day the provider's answer is complete and final."""
        position = self._position.get(number)
        if position is None or not self._request.sessions[position].final:
            return None
        return self._request.sessions[position].window

    @cached_property
    def _regular(self) -> Int64s:
        return self._bounds(SessionKind.REGULAR)

    @cached_property
    def _extended(self) -> Int64s:
        return self._bounds(SessionKind.EXTENDED)

    def _bounds(self, kind: SessionKind) -> Int64s:
        windows = (asked.session.window(kind) for asked in self._request.sessions)
        return np.array([(w.start.epoch_micros, w.end.epoch_micros) for w in windows], np.int64)


def _within(stamps: Int64s, bounds: Int64s) -> Bools:
    return (bounds[:, 0] <= stamps) & (stamps < bounds[:, 1])


@frozen
class _Rows:
    """Rows with, for each, the position of its symbol in ``symbols`` and the number of its New York date."""

    table: pa.Table
    symbols: tuple[Symbol, ...]
    owners: Int64s
    days: Int64s

    def pick(self, rows: npt.NDArray[Any]) -> _Rows:
        picked = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return _Rows(self.table.take(pa.array(picked)), self.symbols, self.owners[picked], self.days[picked])

    def cuts(self) -> list[int]:
        """Where symbol-days begin, and the end of the last."""
        changed = (np.diff(self.days) != 0) | (np.diff(self.owners) != 0)
        return [0, *(np.flatnonzero(changed) + 1).tolist(), len(self.days)]


class WholeDayAssembler:
    """Cuts pages into symbol-days by New York date, and holds back the last one while more pages follow."""

    def __init__(self, request: BarsRequest) -> None:
        self._asked, self._symbols = AskedDays(request), frozenset(request.symbols)
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
        return self._emit(self._in_order(self._joined(page)), hold_back=page.next_cursor is not None)

    def close(self) -> ArrowBars | None:
        if self._tail is None:
            return None
        symbol, table = self._tail
        return self._emit(self._rows(table, (symbol,), np.zeros(len(table), np.int64)), hold_back=False)

    def _joined(self, page: RawMarketData) -> _Rows:
        table, runs = pa.table(page.columns), [(run.symbol, run.length) for run in page.runs]
        if self._tail is not None:
            symbol, held = self._tail
            table, runs = pa.concat_tables([held, table], promote_options="default"), [(symbol, len(held)), *runs]
        symbols = tuple(dict.fromkeys(symbol for symbol, _ in runs))
        position = {symbol: i for i, symbol in enumerate(symbols)}
        owners = np.repeat([position[symbol] for symbol, _ in runs], [length for _, length in runs])
        return self._asked_for(self._rows(table, symbols, owners))

    def _rows(self, table: pa.Table, symbols: tuple[Symbol, ...], owners: Int64s) -> _Rows:
        stamps = table["timestamp"].cast(pa.int64())
        if stamps.null_count:  # a record without a readable time is judged with its neighbour
            nearest = _nearest_known(stamps.is_valid().to_numpy(), owners)
            stamps = stamps.fill_null(self._asked.first_micros).take(pa.array(nearest))
        return _Rows(table, symbols, owners, day_numbers(stamps.to_numpy()))

    def _asked_for(self, rows: _Rows) -> _Rows:
        strangers = np.array([symbol not in self._symbols for symbol in rows.symbols], np.bool_)
        foreign = self._asked.outside(rows.days) | strangers[rows.owners]
        self._unrequested += int(foreign.sum())
        dropped = foreign | self._asked.other_hours(rows.table["timestamp"], rows.days)
        return rows.pick(~dropped) if dropped.any() else rows

    @staticmethod
    def _in_order(rows: _Rows) -> _Rows:
        """By symbol, then date; within a date as the provider had it, for validation to judge."""
        steps = np.diff(rows.owners) * 100_000 + np.diff(rows.days)
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
        whole = None if symbol_day in self._emitted else self._asked.whole_window(number)
        self._emitted.add(symbol_day)
        return SymbolDaySlice(symbol_day, start, end - start, whole)


def _nearest_known(known: npt.NDArray[np.bool_], owners: Int64s) -> Int64s:
    """For each row itself, or else the known row of its symbol that precedes it, or else the one that follows."""
    rows = np.arange(len(known))
    before = np.maximum.accumulate(np.where(known, rows, 0))
    after = np.minimum.accumulate(np.where(known, rows, len(known) - 1)[::-1])[::-1]
    return np.where(known[before] & (owners[before] == owners), before, np.where(owners[after] == owners, after, rows))
