"""A user's table as bars in the canonical columns, with a preview of how it was understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import define, evolve, field, frozen

from marketpipe.integration.domain.table_columns import ADJUSTED_CLOSE, Layout, assign, plain, recognised
from marketpipe.integration.domain.table_import import (
    PRICE_UNITS,
    PRICES,
    UNADJUSTED,
    ImportPreview,
    ImportSettings,
    Stamps,
    SymbolFrom,
    columns_argument,
)
from marketpipe.integration.infrastructure.imported.bar_times import BarTimes, check_timezone, read_times
from marketpipe.integration.infrastructure.imported.plausibility import (
    STATE_THE_ZONE,
    Floats,
    SessionTable,
    advice_on_zone,
    as_sorted,
    doubts,
    on_closed_days,
)
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.domain.trading_date import TradingCalendar, TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, TIMESTAMP, differing_rows, has_price
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
FILE_SYMBOL: Final = "symbol in the file name"
UNDEFINED: Final = 2**63 - 1
"""Databento's price of nothing."""
SWAPPED: Final = 0.1
"""If so many bars have a high below their open or close, the columns are in another order."""
DEAREST: Final = 10_000.0
"""Dollars. One US share costs more."""
MOST_DIGITS: Final = 6
"""Decimal digits of a price after the point. No price of a share has more."""
REPEATED: Final = 0.01
"""If so many bars repeat another one with other values, the file has bars of several venues."""
SAMPLE, NAMES_SHOWN = 3, 5


@frozen
class SourceTable:
    """A table as it came. ``layout`` is the documented format that its file name shows, None if it shows none.

    A column ``FILE_SYMBOL`` holds the symbol that each row's file is named after.
    """

    table: pa.Table
    layout: Layout | None = None
    notes: tuple[str, ...] = ()


@frozen
class BarTable:
    """Bars in the canonical columns, by symbol, then time; ``bounds`` are where each symbol begins, and the end.

    ``days`` are the numbers of their New York dates.
    """

    preview: ImportPreview
    table: pa.Table = field(factory=BAR_SCHEMA.empty_table, repr=False)
    symbols: tuple[Symbol, ...] = ()
    bounds: Int64s = field(factory=lambda: np.zeros(1, np.int64), repr=False)
    days: Int64s = field(factory=lambda: np.zeros(0, np.int64), repr=False)

    def dates(self) -> Mapping[Symbol, Mapping[TradingDate, int]]:
        """Return the number of bars of each symbol on each of its dates; both ascend. No symbol is without bars."""
        found = dict[Symbol, Mapping[TradingDate, int]]()
        for place, symbol in enumerate(self.symbols):
            if self.bounds[place] == self.bounds[place + 1]:
                continue
            days, counts = np.unique(self.days[self.bounds[place] : self.bounds[place + 1]], return_counts=True)
            found[symbol] = {trading_date(int(day)): int(n) for day, n in zip(days, counts, strict=True)}
        return found


def read_bars(source: SourceTable, settings: ImportSettings, calendar: TradingCalendar) -> BarTable:
    """Return the bars of a table; with open questions none, and the preview has them.

    Raises ``ConfigurationError`` for a table that cannot be read as one of bars.
    """
    check_timezone(settings.timezone)
    return _Reading(source, settings, calendar).read()


@define
class _Reading:
    source: SourceTable
    settings: ImportSettings
    calendar: TradingCalendar
    notes: list[str] = field(factory=list)
    questions: list[str] = field(factory=list)
    left_out: dict[str, int] = field(factory=dict)

    def read(self) -> BarTable:
        table, settings = self.source.table, self.settings
        names = [name for name in table.column_names if name != FILE_SYMBOL]
        refuse_repeated(names)
        roles = assign(names, settings.columns)
        layout = self.source.layout or recognised(names)
        self.notes += self.source.notes
        self.questions += roles.questions
        preview = ImportPreview(
            settings.name,
            settings.adjustment or UNADJUSTED,
            settings.timeframe,
            roles.columns,
            roles.ignored,
            "" if layout is None else layout.title,
            stamps=settings.stamps or Stamps.LEFT,
            price_unit="",
            bars=len(table),
        )
        if not len(table):
            self.questions.append("the table has no rows")
        if any(plain(name) == ADJUSTED_CLOSE for name in names) and settings.adjustment is None:
            preview = evolve(preview, adjustment="")
            self.questions.append(
                "the table has an adjusted close beside the prices: state how the prices are adjusted with "
                'adjustment="raw", "split" or "all" (those of Yahoo are adjusted for splits)'
            )
        if roles.questions or not len(table):
            return self._unread(preview)
        return self._bars(preview, layout)

    def _unread(self, preview: ImportPreview) -> BarTable:
        return BarTable(evolve(preview, notes=tuple(self.notes), questions=tuple(self.questions)))

    def _bars(self, preview: ImportPreview, layout: Layout | None) -> BarTable:
        table, columns = self.source.table, dict(preview.columns)
        times = read_times(table, columns, self.settings, "" if layout is None else layout.timezone)
        self.questions += times.questions
        self.notes += times.notes
        symbols, owners = self._symbols(columns, layout)
        unit, prices = self._prices(columns, layout)
        preview = evolve(preview, timezone=times.timezone, price_unit=unit)
        self._check_timeframe(times)
        if self.questions or times.micros is None:
            return self._unread(preview)
        micros = self._left_edges(times.micros, dates_only=times.dates_only)
        bars = pa.table(
            [pa.array(micros, pa.int64()).cast(TIMESTAMP), *prices, *self._optional(columns, unit)], schema=BAR_SCHEMA
        )
        priced = has_price(bars)  # Yahoo has a row of nulls for a session that it lost
        self._count("rows without any price", ~priced)
        if not priced.all():
            bars, owners, micros = bars.filter(pa.array(priced)), owners[priced], micros[priced]
        return self._ordered(preview, bars, symbols, owners, micros)

    def _check_timeframe(self, times: BarTimes) -> None:
        if self.settings.timeframe is Timeframe.MINUTE_1 and times.dates_only:
            self.questions.append('the bars have dates without a time of day: for daily bars state timeframe="1d"')

    def _left_edges(self, micros: Int64s, *, dates_only: bool) -> Int64s:
        if self.settings.timeframe is Timeframe.DAY_1:
            return _midnights(micros, dates_only)
        return micros - MICROS_PER_MINUTE if self.settings.stamps is Stamps.RIGHT else micros

    def _symbols(self, columns: Mapping[str, str], layout: Layout | None) -> tuple[tuple[Symbol, ...], Int64s]:
        """Return the symbols, ascending, and for each row the position of its own; -1 for one that cannot be stored."""
        table, settings = self.source.table, self.settings
        if settings.symbol is not None:
            return self._stated_symbol(settings.symbol, columns)
        wanted = settings.symbol_from
        if wanted is None and "symbol" not in columns and layout is not None and layout.symbol_in_name:
            wanted = SymbolFrom.NAME
        name = FILE_SYMBOL if wanted is SymbolFrom.NAME else columns.get("symbol")
        if name is None or name not in table.column_names:
            self.questions.append(
                'whose bars are these? State symbol="…", or symbol_from="name" if the files are named after their '
                f"symbols, or name a column with {columns_argument(['symbol'])}"
            )
            return (), np.zeros(len(table), np.int64)
        return self._named_symbols(table[name])

    def _stated_symbol(self, symbol: Symbol, columns: Mapping[str, str]) -> tuple[tuple[Symbol, ...], Int64s]:
        table = self.source.table
        if (name := columns.get("symbol")) and len(distinct := pc.unique(table[name])) > 1:
            self.questions.append(
                f"the column {name} names {len(distinct):,} symbols, and you state that all bars are of {symbol}: "
                "leave one of both out"
            )
        return (symbol,), np.zeros(len(table), np.int64)

    def _named_symbols(self, column: pa.ChunkedArray) -> tuple[tuple[Symbol, ...], Int64s]:
        coded = _dictionary(column)
        texts = [str(text).strip() for text in coded.dictionary.to_pylist()]
        found = [_symbol(text) for text in texts]
        symbols = tuple(sorted({symbol for symbol in found if symbol is not None}))
        place = {symbol: number for number, symbol in enumerate(symbols)}
        places = np.array([-1 if symbol is None else place[symbol] for symbol in found] or [-1], np.int64)
        owners = places[pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)]
        if coded.null_count:
            owners[coded.is_null().to_numpy(zero_copy_only=False)] = -1
        if refused := [text for text, symbol in zip(texts, found, strict=True) if symbol is None]:
            shown = ", ".join(refused[:NAMES_SHOWN]) + (" …" if len(refused) > NAMES_SHOWN else "")
            self.notes.append(f"{len(refused):,} names are no symbols that can be stored, and are left out: {shown}")
        if not symbols:
            self.questions.append("no row has a symbol that can be stored, such as AAPL or BRK.B")
        return symbols, owners

    def _prices(self, columns: Mapping[str, str], layout: Layout | None) -> tuple[str, list[pa.Array]]:
        """Return the unit of the prices, "" if it is asked for, and open, high, low, close and volume."""
        table = self.source.table
        found = [_numbers(table[columns[role]], columns[role]) for role in PRICES]
        unit = self.settings.price_unit or self._documented_unit(layout, found)
        if unit is None:
            unit = "" if self._asks_for_the_unit(found) else "dollars"
        self._ask_for_empty_columns(dict(zip(PRICES, found, strict=True)), columns)
        scaled = [_in_dollars(column, PRICE_UNITS[unit or "dollars"]) for column in found]
        self._check_order(scaled)
        volume = _numbers(table[columns["volume"]], columns["volume"]).cast(pa.float64(), safe=False)
        return unit, [*scaled, volume]

    def _documented_unit(self, layout: Layout | None, prices: list[pa.Array]) -> str | None:
        if layout is None:
            return None
        return layout.integers if all(pa.types.is_integer(column.type) for column in prices) else layout.decimals

    def _asks_for_the_unit(self, prices: list[pa.Array]) -> bool:
        closes = prices[-1].to_numpy(zero_copy_only=False).astype(np.float64)
        median = float(np.median(closes[np.isfinite(closes)])) if np.isfinite(closes).any() else 0.0
        if all(_are_whole(column) for column in prices):
            why = f"all prices are whole numbers, such as {median:,.0f}"
        elif median > DEAREST:
            why = f"the prices are about {median:,.0f}, and nearly no share costs so many dollars"
        else:
            return False
        self.questions.append(f"{why}: state what they are with price_unit={_alternatives(PRICE_UNITS)}")
        return True

    def _ask_for_empty_columns(self, prices: Mapping[str, pa.Array], columns: Mapping[str, str]) -> None:
        empty = [role for role, column in prices.items() if not pc.any(pc.is_finite(column)).as_py()]
        if empty:
            names = ", ".join(columns[role] for role in empty)
            self.questions.append(f"no bar has a value of {names}: name other columns with {columns_argument(empty)}")

    def _check_order(self, prices: list[pa.Array]) -> None:
        opens, highs, lows, closes = (column.to_numpy(zero_copy_only=False) for column in prices)
        with np.errstate(invalid="ignore"):
            odd = (highs < np.maximum(opens, closes)) | (lows > np.minimum(opens, closes))
        if odd.sum() > SWAPPED * len(odd):
            self.questions.append(
                f"{odd.mean():.0%} of the bars have a high below, or a low above, their open or close: the columns are "
                f"not what they are taken for. Name them with {columns_argument(PRICES)}"
            )

    def _optional(self, columns: Mapping[str, str], unit: str) -> list[pa.Array]:
        table, rows = self.source.table, len(self.source.table)
        trades, vwap = pa.nulls(rows, pa.int64()), pa.nulls(rows, pa.float64())
        if name := columns.get("trade_count"):
            trades = _numbers(table[name], name).cast(pa.int64(), safe=False)
        if name := columns.get("vwap"):
            vwap = _in_dollars(_numbers(table[name], name), PRICE_UNITS[unit])
        return [trades, vwap]

    def _with_advice(
        self, questions: Sequence[str], zone: str, micros: Int64s, owners: Int64s, volumes: Floats
    ) -> list[str]:
        """Return the questions; those about the time zone with what is known of it."""
        advice = STATE_THE_ZONE
        if zone and any(advice in question for question in questions):
            is_stated = self.settings.timezone == zone
            advice = advice_on_zone(zone, is_stated, micros, owners, volumes, self.calendar)
        return [question.replace(STATE_THE_ZONE, advice) for question in questions]

    def _ordered(
        self, preview: ImportPreview, bars: pa.Table, symbols: tuple[Symbol, ...], owners: Int64s, micros: Int64s
    ) -> BarTable:
        days = day_numbers(micros)
        sessions = SessionTable.around(self.calendar, days)
        places, open_day = sessions.places(days)
        kept = open_day & (owners >= 0)
        order = as_sorted(owners, micros)
        if self.settings.timeframe is Timeframe.MINUTE_1:
            some = np.arange(len(days)) if order is None else order
            volumes = bars["volume"].to_numpy()[some]
            found = doubts(micros[some], days[some], owners[some], volumes, sessions, self.settings.stamps)
            self.notes += found.notes
            self.questions += self._with_advice(found.questions, preview.timezone, micros[some], owners[some], volumes)
            hours = sessions.hours(micros, places, open_day)
            self._count("hours without trading", kept & ~hours)
            kept &= hours
        else:
            self.questions += on_closed_days(days, open_day)
        kept &= ~self._repetitions(bars, owners, micros, order)
        self._count("symbols that cannot be stored", owners < 0)
        self._count("days on which the exchange was closed", ~open_day & (owners >= 0))
        if order is not None or not kept.all():
            rows = np.flatnonzero(kept) if order is None else order[kept[order]]
            bars, owners, days = bars.take(pa.array(rows)), owners[rows], days[rows]
        return self._finished(preview, bars.combine_chunks(), symbols, owners, days)

    def _repetitions(self, bars: pa.Table, owners: Int64s, micros: Int64s, order: Int64s | None) -> Bools:
        """Return which bars have the symbol, the time and all values of another; ask if many have other values."""
        found = np.zeros(len(micros), np.bool_)
        rows = np.arange(len(micros)) if order is None else order
        later = 1 + np.flatnonzero((np.diff(owners[rows]) == 0) & (np.diff(micros[rows]) == 0))
        if not len(later):
            return found
        former, latter = (bars.take(pa.array(rows[some])) for some in (later - 1, later))
        differs = differing_rows(former, latter)
        found[rows[later[~differs]]] = True
        self._count("repetitions of the same bar", found)
        if differs.sum() > REPEATED * len(micros):
            self.questions.append(
                f"{differs.sum() / len(micros):.0%} of the bars have the symbol and time of another bar, and other "
                "values: leave the bars of one venue in the file, or import files that overlap one by one"
            )
        return found

    def _count(self, reason: str, rows: Bools) -> None:
        if count := int(rows.sum()):
            self.left_out[reason] = count

    def _finished(
        self, preview: ImportPreview, bars: pa.Table, symbols: tuple[Symbol, ...], owners: Int64s, days: Int64s
    ) -> BarTable:
        if not len(days):
            self.questions.append("no bar is left that could be stored")
            return BarTable(evolve(preview, **self._remarks()))
        bounds = np.searchsorted(owners, np.arange(len(symbols) + 1))
        cuts = (np.diff(owners) != 0) | (np.diff(days) != 0)
        shown = bars.slice(0, SAMPLE).to_pylist()
        sample = tuple({"symbol": str(symbols[owners[row]]), **values} for row, values in enumerate(shown))
        present = tuple(symbol for place, symbol in enumerate(symbols) if bounds[place] < bounds[place + 1])
        preview = evolve(
            preview,
            bars=len(days),
            symbols=present,
            symbol_days=int(cuts.sum()) + 1,
            first=trading_date(int(days.min())),
            last=trading_date(int(days.max())),
            sample=sample,
            **self._remarks(),
        )
        return BarTable(preview, bars, symbols, bounds, days)

    def _remarks(self) -> dict[str, Any]:
        return {"left_out": self.left_out, "notes": tuple(self.notes), "questions": tuple(self.questions)}


def refuse_repeated(names: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` if two columns have the same name."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"two columns are named {repeated[0]!r}: rename one of them, or leave it out")


def _symbol(text: str) -> Symbol | None:
    """Return the symbol, in whatever convention it is written; a text in small letters only is one, too."""
    try:
        return as_symbol(text.upper() if text == text.lower() else text)
    except ValidationError:
        return None


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    coded = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    coded = coded.unify_dictionaries() if isinstance(coded, pa.ChunkedArray) else coded
    found = coded.combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _numbers(column: pa.ChunkedArray, name: str) -> pa.Array:
    """Return integers or doubles. Raises ``ConfigurationError`` for a column of text that is no number."""
    kind = column.type
    if kind == pa.uint64() and (pc.max(column).as_py() or 0) > UNDEFINED:
        found = column.cast(pa.float64(), safe=False)
    elif pa.types.is_integer(kind) or pa.types.is_null(kind):
        found = column.cast(pa.int64())
    elif pa.types.is_float32(kind):
        found = _as_decimals(column)
    elif pa.types.is_floating(kind):
        found = column.cast(pa.float64())
    else:
        try:
            found = column.cast(pa.string()).cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigurationError(
                f"the column {name} has values that are no numbers ({error}); a decimal point is a dot, and thousands "
                "have no separators"
            ) from error
    found = found.combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _as_decimals(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for each 32-bit number the shortest decimal number that it stands for: 47.31, not 47.310001."""
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    found, unread = numbers.copy(), np.isfinite(numbers)
    for digits in range(MOST_DIGITS + 1):
        rounded = np.round(numbers, digits)
        same = unread & (rounded.astype(np.float32) == numbers)
        found[same] = rounded[same]
        unread &= ~same
    return pa.chunked_array([pa.array(found, mask=column.is_null().to_numpy(zero_copy_only=False))])


def _alternatives(values: Iterable[str]) -> str:
    *others, last = (f'"{value}"' for value in values)
    return f"{', '.join(others)} or {last}"


def _are_whole(prices: pa.Array) -> bool:
    if pa.types.is_integer(prices.type):
        return True
    values = prices.to_numpy(zero_copy_only=False)
    finite = values[np.isfinite(values)]
    return bool(len(finite)) and bool((finite == np.floor(finite)).all())


def _in_dollars(prices: pa.Array, divisor: int) -> pa.Array:
    """Divide, which rounds to the double that the decimal text of the price is read as."""
    if pa.types.is_integer(prices.type):
        prices = pc.if_else(pc.equal(prices, UNDEFINED), pa.scalar(None, pa.int64()), prices)
        prices = prices.cast(pa.float64(), safe=False)
    return prices if divisor == 1 else pc.divide(prices, float(divisor))


def _midnights(micros: Int64s, dates_only: bool) -> Int64s:
    """Return New York midnight of the date of each daily bar: of its own date, or of its moment's date there."""
    numbers = micros // 86_400_000_000
    if not dates_only and (micros % 86_400_000_000).any():  # not stamped midnight UTC: then midnight in New York
        numbers = day_numbers(micros)
    different, places = np.unique(numbers, return_inverse=True)
    midnights = np.array([trading_date(int(number)).midnight.epoch_micros for number in different], np.int64)
    found: Int64s = midnights[places]
    return found
