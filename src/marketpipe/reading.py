"""The method of ``Store`` that loads stored bars as a table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from marketpipe.completeness import WARN, Complete
from marketpipe.config import StoreConfig
from marketpipe.config.arguments import with_known_arguments
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.parts import Parts
from marketpipe.scoping import Symbols, resolved
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.timestamp import AnyMoment, as_timestamp
from marketpipe.shared_kernel.domain.trading_date import AnyDate, SessionKind, TradingDate
from marketpipe.storage.domain.bar_selection import BarSelection

from . import completeness, coverage_parts, derived

if TYPE_CHECKING:
    import pyarrow as pa


class LoadingStore(Protocol):
    """What loading needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    def _chosen(self, symbols: Symbols) -> tuple[Symbol, ...]: ...

    def _latest_final(self) -> TradingDate: ...

    def _recorded_session(self) -> SessionKind | None: ...

    def _loadable_symbols(self) -> frozenset[Symbol]: ...


@with_known_arguments
def load(
    self: LoadingStore,
    symbols: Symbols,
    start: AnyDate,
    end: AnyDate,
    timeframe: str | Timeframe = Timeframe.MINUTE_1,
    *,
    as_of: AnyMoment | None = None,
    source: str | DaySource | None = None,
    complete: Complete = WARN,
    session: str | SessionKind | None = None,
    columns: str | Iterable[str] | None = None,
    tz: str | tzinfo | None = None,
    trading_date: bool = False,
) -> pa.Table:
    """Return stored bars as one Arrow table, by symbol, then time.

    ``start`` and ``end`` are trading dates (New York) or "latest", both inclusive; a week or month belongs to the
    date on which it begins, its first session. Columns: symbol, timestamp (microseconds, UTC, left edge of the
    bar), open, high, low, close, volume, trade_count (nullable), vwap (nullable). What is not stored is not in the
    table: no row is invented.

    "1d" is the exchange's daily bar where the provider gave one, and else made from minutes, which is an estimate
    of it; "1w" and "1mo" are made of these days. They have a last column, source: "official" or "minutes", or
    "mixed" for a week or month of both. With ``source``, only the bars that are from there; "minutes" of a symbol that
    has daily bars alone is refused.

    ``as_of`` is a moment with a time zone: a ``Timestamp``, an aware datetime or RFC 3339 text. The bars are then
    those that this store held at that moment, whatever was restated since.

    ``session``: "regular" for bars from the open to the close of each regular session only, by the exchange's
    calendar, half days too; the minute of the closing auction begins at the close and is not one of them.
    "extended", or nothing, for all that are stored; it is refused by a store of regular sessions. ``columns``: the
    table has only these, in this order, and no others are read. ``tz``: the time zone of the column timestamp, such
    as "America/New_York"; the moments stay the same. ``trading_date``: add the column trading_date (a date, New
    York) after symbol, or as the last of ``columns``.

    ``complete``: "warn" issues an ``IncompleteWarning`` if ``ingest`` would request something of this range again;
    "require" raises ``IncompleteError`` for all that ``coverage`` finds missing, partial or suspect in it; both
    name the gaps, and "ignore" does neither.

    Raises ``ValidationError`` for arguments that are not valid, ``ConfigurationError`` for symbols, a session or a
    timeframe that are not stored, and ``PartitionUnreadableError`` for a damaged file.
    """
    first, last = (resolved(day, self._latest_final) for day in (start, end))
    scope = IngestionScope(self._chosen(symbols), first, last)
    required, length = completeness.as_complete(complete), Timeframe.parse(timeframe)
    moment = None if as_of is None else as_timestamp(as_of)
    wanted = day_source(source, length)
    selection = BarSelection.of(length, session, columns, tz, trading_date=trading_date)
    if selection.extended_hours:
        completeness.refuse_hours(self._recorded_session(), self.config.output_path)
    completeness.refuse_unstored(self._parts, scope.symbols, length, moment, self._loadable_symbols)
    if wanted is DaySource.MINUTES:
        completeness.refuse_without_minutes(self._parts, scope, moment)
    scan = coverage_parts.new_scan(
        self._parts, scope.symbols, scope.first, scope.last
    )  # one for the check and for reading
    finder = partial(coverage_parts.new_gap_finder, self._parts, scan)
    completeness.check(self._parts, scope, length, required, finder, selection.session, moment)
    bars = derived.loader(self._parts).load(
        scope.symbols, scope.first, scope.last, length, moment, wanted, selection, scan.fingerprint
    )
    if not len(bars):
        completeness.refuse_unmade(self._parts, scope.symbols, length)
    return bars


def checked_form(
    timeframe: Timeframe,
    source: str | DaySource | None,
    complete: Complete,
    session: str | SessionKind | None,
    columns: str | Iterable[str] | None,
    tz: str | tzinfo | None,
    *,
    trading_date: bool,
) -> dict[str, Any]:
    """Return these arguments for ``load``, before anything is ingested. Raises ``ValidationError`` as ``load`` does."""
    names = tuple(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else columns
    BarSelection.of(timeframe, session, names, tz, trading_date=trading_date)
    return {
        "source": day_source(source, timeframe),
        "complete": completeness.as_complete(complete),
        "session": None if session is None else SessionKind.parse(session),
        "columns": names,
        "tz": tz,
        "trading_date": trading_date,
    }


def day_source(source: str | DaySource | None, timeframe: Timeframe) -> DaySource | None:
    """Read the argument ``source``. Raises ``ValidationError`` for what is no source, and for bars that have none."""
    if source is not None and timeframe.is_intraday:
        raise ValidationError(f"source: bars of {timeframe} have none; give 1d, 1w or 1mo, or no source")
    return None if source is None else DaySource.parse(source)
