"""From pages to complete symbol-days: pages are cut by the provider, symbol-days by New York dates."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import evolve, frozen

from marketpipe.integration.domain.page_walk import SymbolSpan, check_timeframe, is_daily
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import MalformedResponseError, WrongAnswerError, count_of
from marketpipe.shared_kernel.domain.ohlcv_bar import ArrowStream, SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars, with_lengths
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


def canonical(columns: ArrowStream) -> pa.Table:
    """Return the columns of a page with the types of ``BAR_SCHEMA``; an extra column stays.

    Raises ``MalformedResponseError`` if a column is missing, or has a value that its type would change: a whole number
    that no double holds, or a time below a microsecond.
    """
    table = pa.table(columns)
    for field in BAR_SCHEMA:
        place = table.schema.get_field_index(field.name)
        if place < 0:
            raise MalformedResponseError(f"the page has no column {field.name}")
        if (found := table.schema.types[place]) != field.type:
            try:
                table = table.set_column(place, field, table[place].cast(field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise MalformedResponseError(
                    f"the column {field.name} of the page, {found}, is not exact as {field.type}: {error}"
                ) from error
    return table


def time_spans(page: RawMarketData) -> list[SymbolSpan]:
    """Return the first and the last timestamp of every run that has one."""
    runs = [run for run in page.runs if run.length]
    if not runs:
        return []
    stamps = pa.table(page.columns)["timestamp"].cast(pa.int64())
    starts = [0, *accumulate(run.length for run in runs[:-1])]
    early, late = (stamps.fill_null(edge) if stamps.null_count else stamps for edge in (LATEST, -LATEST))
    least = np.minimum.reduceat(early.to_numpy(), starts).tolist()
    most = np.maximum.reduceat(late.to_numpy(), starts).tolist()
    return [(run.symbol, (low, high)) for run, low, high in zip(runs, least, most, strict=True) if low <= high]


LATEST = 2**62
"""Microseconds: no timestamp can be later."""


class WholeDayAssembler:
    """Cuts the pages of one request into symbol-days by New York date. See ``SymbolDayAssembler``.

    A symbol-day is emitted as complete when nothing can follow it. Pages that ascend by symbol, then time, prove that
    of all but the last symbol-day. So the last day of each symbol is kept until a page proves that order, see
    ``PageOrder``; from then on only the last symbol-day is kept for the next page. If the pages have another order,
    everything is kept until they have ended well: a failure on the way leaves no half of a symbol-day behind. What is
    kept is dropped if the pages begin again, because a symbol was refused: that of other symbols comes once more.

    Bars of symbols and dates that were not requested are dropped and counted; bars of the extended session are dropped
    if the regular one was requested. Everything works on whole columns, never bar by bar.
    """

    def __init__(self, request: BarsRequest) -> None:
        self._request, self._days, self._symbols = request, RequestedDays(request), frozenset(request.symbols)
        self._order, self._kept = PageOrder(), list[_Rows]()
        self._emitted: set[SymbolDay] = set()
        self._unrequested = 0

    @property
    def unrequested(self) -> int:
        return self._unrequested

    def add(self, page: RawMarketData) -> ArrowBars | None:
        self._unrequested += page.unrequested
        if page.refused or page.begins_again:
            self._order.restart()
        if page.begins_again:  # else a part of a day would be emitted as if nothing could follow it
            self._kept.clear()
        if not page.num_rows:
            return None
        rows = self._read(page)
        if is_daily(int(rows.micros[0])) is (self._request.timeframe is Timeframe.MINUTE_1):  # of one bar it is cheap
            check_timeframe(self._request, time_spans(evolve(page, columns=rows.table)))
        rows = self._requested(rows)
        self._order.read(rows)
        self._kept.append(rows)
        more = page.next_cursor is not None
        if more and self._order.is_broken:
            return None
        emitted = self._emit(self._joined(), keep_last=more)
        if not more:
            self._order.restart()
        return emitted

    def close(self) -> ArrowBars | None:
        return self._emit(self._joined(), keep_last=False) if self._kept else None

    def check_answered(self, refused: Collection[Symbol]) -> None:
        if not self._unrequested:
            return
        final = {asked.trading_date for asked in self._request.sessions if asked.final}
        open_days = (day for day in self._request.symbol_days if day.trading_date in final)
        left = [day for day in open_days if day not in self._emitted and day.symbol not in refused]
        if left:
            others = f" and {count_of(len(left) - 1, 'other symbol-day')}" if len(left) > 1 else ""
            raise WrongAnswerError(
                f"the response has {count_of(self._unrequested, 'bar')} of other symbols or dates than requested, and "
                f"none of {left[0]}{others}"
            )

    def _read(self, page: RawMarketData) -> _Rows:
        runs = page.runs
        symbols = tuple(sorted({run.symbol for run in runs}))
        position = {symbol: i for i, symbol in enumerate(symbols)}
        owners = np.repeat([position[run.symbol] for run in runs], [run.length for run in runs])
        return self._dated(canonical(page.columns), symbols, owners)

    def _dated(self, table: pa.Table, symbols: tuple[Symbol, ...], owners: Int64s) -> _Rows:
        stamps = table["timestamp"].cast(pa.int64())
        if stamps.null_count:
            # A record whose time cannot be read goes to the day of its neighbour, so that validation rejects it there.
            nearest = _nearest_valid(stamps.is_valid().to_numpy(), owners)
            stamps = stamps.fill_null(self._days.first_micros).take(pa.array(nearest))
        micros = stamps.to_numpy()
        return _Rows(table, symbols, owners, micros, day_numbers(micros))

    def _requested(self, rows: _Rows) -> _Rows:
        other_symbols = np.array([symbol not in self._symbols for symbol in rows.symbols], np.bool_)
        unrequested = self._days.outside(rows.days) | other_symbols[rows.owners]
        self._unrequested += int(unrequested.sum())
        dropped = unrequested | self._days.other_hours(rows.table["timestamp"], rows.days)
        return rows.pick(~dropped) if dropped.any() else rows

    def _joined(self) -> _Rows:
        """Return all rows that are kept, by symbol, then date.

        Within a date the order of arrival stays, because validation judges it.
        """
        parts, self._kept = self._kept, []
        symbols = parts[0].symbols
        rows = parts[0]
        if len(parts) > 1:
            symbols = tuple(sorted({symbol for part in parts for symbol in part.symbols}))
            position = {symbol: i for i, symbol in enumerate(symbols)}
            places = (np.array([position[symbol] for symbol in part.symbols], np.int64)[part.owners] for part in parts)
            # "default": only some of the tables may have the column raw
            table = pa.concat_tables([part.table for part in parts], promote_options="default")
            owners = np.concatenate([*places])
            if table["timestamp"].null_count:
                rows = _by_symbol(table, symbols, owners, self._dated)
            else:
                micros, days = (np.concatenate([getattr(part, name) for part in parts]) for name in ("micros", "days"))
                rows = _Rows(table, symbols, owners, micros, days)
        return rows if rows.ascend() else rows.pick(np.lexsort((rows.days, rows.owners)))

    def _emit(self, rows: _Rows, *, keep_last: bool) -> ArrowBars | None:
        if keep_last and len(rows.days):
            if self._order.is_proven:
                self._kept, rows = [rows.part(rows.cuts()[-2])], rows.part(0, rows.cuts()[-2])
            else:
                kept = rows.last_days()
                self._kept, rows = [rows.pick(kept)], rows.pick(~kept)
        if not len(rows.days):
            return None
        slices = tuple(self._slice(rows, a, b) for a, b in pairwise(rows.cuts()))
        return ArrowBars(rows.table, slices)

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
        tables = [BAR_SCHEMA.empty_table(), *(canonical(page.columns) for page in self._pages)]
        table = pa.concat_tables(tables, promote_options="default")  # only some may have the column raw
        runs = tuple(run for page in self._pages for run in page.runs)
        unrequested = sum(page.unrequested for page in self._pages)
        found = self._days.add(RawMarketData(table, runs, unrequested=unrequested))
        self._days.check_answered([refused.symbol for page in self._pages for refused in page.refused])
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


class PageOrder:
    """Whether the pages that have come ascend by symbol, then time, as the port requires.

    A page can look so by chance: pages by time over all symbols begin with every symbol in turn. Their order is proven
    by a page that begins a symbol at an earlier time than the pages before it had reached.
    """

    def __init__(self) -> None:
        self.is_proven = self.is_broken = False
        self.restart()

    def restart(self) -> None:
        """The pages begin again: a symbol was refused, or another group of symbols follows."""
        self._last: tuple[Symbol, int] | None = None
        self._latest: int | None = None
        self.is_broken = False

    def read(self, rows: _Rows) -> None:
        if not len(rows.days):
            return
        first, last = ((rows.symbols[rows.owners[i]], int(rows.days[i])) for i in (0, -1))
        if not rows.ascend() or (self._last is not None and first < self._last):
            self.is_broken = True
        begun = rows.owners != rows.owners[0] if self._last is not None and first[0] == self._last[0] else slice(None)
        times = rows.micros[begun]
        if self._latest is not None and len(times) and int(times.min()) < self._latest:
            self.is_proven = not self.is_broken
        self._last = last
        self._latest = max(self._latest or 0, int(rows.micros.max()))


@frozen
class _Rows:
    """Rows with, for each, its symbol's position in ``symbols``, its epoch microseconds and the number of its date.

    ``symbols`` ascend; dates are those of New York.
    """

    table: pa.Table
    symbols: tuple[Symbol, ...]
    owners: Int64s
    micros: Int64s
    days: Int64s

    def pick(self, rows: npt.NDArray[Any]) -> _Rows:
        """Return the rows that a mask selects, or those with the given positions in that order.

        Rows that a mask selects one after another are not copied.
        """
        picked = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        if rows.dtype == np.bool_ and len(picked) and picked[-1] - picked[0] + 1 == len(picked):
            return self.part(int(picked[0]), int(picked[-1]) + 1)  # as of a page of one symbol
        table = self.table.take(pa.array(picked))
        return _Rows(table, self.symbols, self.owners[picked], self.micros[picked], self.days[picked])

    def part(self, start: int, end: int | None = None) -> _Rows:
        """Return the rows from ``start`` up to ``end``, without copying them."""
        rows = slice(start, end)
        table = self.table.slice(start, None if end is None else end - start)
        return _Rows(table, self.symbols, self.owners[rows], self.micros[rows], self.days[rows])

    def ascend(self) -> bool:
        """Whether the rows are by symbol, then date."""
        steps = np.diff(self.owners) * 100_000 + np.diff(self.days)  # no two dates are 100,000 days apart
        return bool((steps >= 0).all())

    def last_days(self) -> Bools:
        """Return which rows are of the last date of their symbol. The rows are by symbol, then date."""
        ends = np.flatnonzero(np.append(np.diff(self.owners) != 0, True))
        last = np.repeat(self.days[ends], np.diff(ends, prepend=-1))
        return np.equal(self.days, last)

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


def _by_symbol(
    table: pa.Table,
    symbols: tuple[Symbol, ...],
    owners: Int64s,
    dated: Callable[[pa.Table, tuple[Symbol, ...], Int64s], _Rows],
) -> _Rows:
    """Bring the rows of each symbol together before they are dated: a bar without a time looks to its neighbours."""
    if (np.diff(owners) < 0).any():
        order = np.argsort(owners, kind="stable")
        table, owners = table.take(pa.array(order)), owners[order]
    return dated(table, symbols, owners)


def _within(stamps: Int64s, bounds: Int64s) -> Bools:
    return (bounds[:, 0] <= stamps) & (stamps < bounds[:, 1])


def _nearest_valid(valid: Bools, owners: Int64s) -> Int64s:
    """Return for each row itself if valid, or else the valid row of its symbol before it, or else the one after it."""
    rows = np.arange(len(valid))
    before = np.maximum.accumulate(np.where(valid, rows, 0))
    after = np.minimum.accumulate(np.where(valid, rows, len(valid) - 1)[::-1])[::-1]
    return np.where(valid[before] & (owners[before] == owners), before, np.where(owners[after] == owners, after, rows))
