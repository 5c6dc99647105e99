"""The methods of ``Store`` that write stored bars to files for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from marketpipe.completeness import IGNORE
from marketpipe.config import StoreConfig
from marketpipe.parts import Parts
from marketpipe.scoping import Symbols, refuse_unknown
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.timestamp import AnyMoment, as_timestamp
from marketpipe.shared_kernel.domain.trading_date import AnyDate, SessionKind, TradingDate
from marketpipe.storage.domain.exported_file import ExportReport, FileFormat

from . import derived

if TYPE_CHECKING:
    import pyarrow as pa


class ReadableStore(Protocol):
    """What an export needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    @property
    def load(self) -> Callable[..., pa.Table]: ...

    def _known_symbols(self) -> frozenset[Symbol]: ...

    def _stored_symbols(self) -> tuple[Symbol, ...]: ...

    def _stored_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...], TradingDate, TradingDate]: ...


def export(
    self: ReadableStore,
    file: str | Path,
    symbols: Symbols | None = None,
    start: AnyDate | None = None,
    end: AnyDate | None = None,
    timeframe: str | Timeframe = Timeframe.MINUTE_1,
    *,
    format: str | FileFormat | None = None,
    overwrite: bool = False,
    as_of: AnyMoment | None = None,
    source: str | DaySource | None = None,
    session: str | SessionKind | None = None,
    columns: str | Iterable[str] | None = None,
    tz: str | tzinfo | None = None,
    trading_date: bool = False,
) -> ExportReport:
    """Write stored bars to one file, by symbol, then time: what ``load`` returns, however large it is.

    Without ``symbols``, ``start`` or ``end``, everything stored is meant: for bars shorter than a day, the symbols with
    minutes. ``format`` is "parquet", "csv", "arrow" (an
    IPC file) or "json"; by default it is that of the ending of ``file``. The other arguments are those of ``load``. The
    file appears when it is complete; Parquet and Arrow files have the dataset, timeframe and ``as_of`` in their
    metadata. While an ingestion writes, each symbol and year is read as it is at that moment; with ``as_of`` all are of
    one moment.

    Raises ``ConfigurationError`` for a file that exists, unless ``overwrite``, for symbols that the store does not
    know, and if there are no bars to write; ``StorageError`` for a file that cannot be read or written.
    """
    written = derived.table_file(self._parts, file, format, overwrite=overwrite)
    chosen, first, last = self._stored_range(symbols, start, end)
    length, moment = Timeframe.parse(timeframe), None if as_of is None else as_timestamp(as_of)
    if symbols is None and not (chosen and length.is_intraday):  # days are also stored without minutes
        chosen = self._stored_symbols()
    refuse_unknown(chosen, self._known_symbols(), self.config.output_path)
    names = None if columns is None or isinstance(columns, str) else tuple(columns)  # read once for each symbol

    def load(symbol: Symbol, since: TradingDate, until: TradingDate) -> pa.Table:
        form = {
            "complete": IGNORE,
            "session": session,
            "columns": names or columns,
            "tz": tz,
            "trading_date": trading_date,
        }
        return self.load(symbol, since, until, length, as_of=moment, source=source, **form)

    return derived.export_bars(self._parts, written, chosen, (first, last), length, load, moment)


def export_query(
    self: ReadableStore,
    file: str | Path,
    sql: str,
    *,
    format: str | FileFormat | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write the answer to a query to one file, however large it is. See ``query`` and ``export``."""
    written = derived.table_file(self._parts, file, format, overwrite=overwrite)
    return derived.export_answer(self._parts, written, sql)
