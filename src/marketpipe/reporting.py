"""The method of ``Store`` that makes the report page, and what the page is made of while it is served live.

The facts are collected here, and nothing is changed: coverage, quarantine, former versions, aggregates, and the bars of
the symbol-days that the page contains.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import frozen

from marketpipe.config import StoreConfig
from marketpipe.imported_stores import refuse_other_import
from marketpipe.parts import Parts
from marketpipe.reports import CoverageReport
from marketpipe.scoping import Symbols
from marketpipe.shared_kernel.domain.errors import ConfigurationError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import AnyDate, TradingDate
from marketpipe.storage.domain.store_survey import QualitySurvey, RuleKey

from . import composition, derived, place_parts, side_rings

if TYPE_CHECKING:
    from marketpipe.ingestion.application.coverage_assessor import Watch
    from marketpipe.report_page.embedded_days import EmbeddedDays
    from marketpipe.report_page.facts import StoreFacts
    from marketpipe.report_page.page import ReportPage

MEGABYTE: Final = 1_000_000
BARS_MB: Final = 16.0
"""Megabytes of packed bars in a page, unless another number is given: about five thousand symbol-days."""
MOST_MB: Final = 2_000
"""Browsers open no larger file."""
MOST_QUARANTINE_FILES: Final = 20_000
MOST_FORMER_VERSIONS: Final = 2_000
STORED: Final = "stored"
JOBS_SHOWN: Final = 20
REST: Final = 4.0
LONGEST_AGE: Final = 60.0
BYTES_CHECKED: Final = 2 * MEGABYTE
"""Of packed bars, which a live page does not contain: the rules that they break are shown all the same."""
Columns = Mapping[str, Any]
"""Arrays of numpy, with a row for each symbol and a column for each session."""


class ReportableStore(Protocol):
    """What a report needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    def _covered(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None, *watch: Watch
    ) -> CoverageReport: ...


def report(
    self: ReportableStore,
    symbols: Symbols | None = None,
    start: AnyDate | None = None,
    end: AnyDate | None = None,
    *,
    bars_mb: float = BARS_MB,
) -> ReportPage:
    """Return one HTML file that shows the store: its ``html``, and ``write`` to save it.

    It shows the verdict on every symbol-day, gaps with their evidence, rejected and warned bars, restated days,
    official days, volumes, aggregates, and candle charts. It contains its scripts and makes no request. Bars of
    symbol-days with a problem and of the newest ones are inside, up to ``bars_mb`` megabytes. ``symbols``, ``start``
    and ``end`` are those of ``coverage``. Asks no provider and changes nothing.

    Raises ``ConfigurationError`` as ``coverage`` does, and without Jinja2 and plotly: the extra ``report``.
    """
    from marketpipe.report_page.page import check_installed, page_of

    check_installed()
    if not 0 <= bars_mb < MOST_MB:
        raise ConfigurationError(f"bars_mb: must be from 0 to {MOST_MB:,} megabytes, not {bars_mb}")
    facts = collected(self, symbols, start, end, budget=int(bars_mb * MEGABYTE))
    return page_of(facts, derived.own_places(self._parts))


def check_target(store: ReportableStore, path: Path, *, overwrite: bool) -> None:
    """Raise ``ConfigurationError`` if the page must not be written there: before a long survey, not after it."""
    from marketpipe.report_page.page import checked_page

    checked_page(path, derived.own_places(store._parts), overwrite=overwrite)


def collected(
    store: ReportableStore, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None, *, budget: int
) -> StoreFacts:
    """Return the facts of a store, with at most ``budget`` bytes of packed bars."""
    from marketpipe.report_page.facts import StoreFacts, coverage_columns
    from marketpipe.report_page.measures import DayMeasures

    measures, parts = DayMeasures(), store._parts
    refuse_other_import(parts)
    covered = store._covered(symbols, start, end, measures.add)
    names = [each.symbol for each in covered.symbols]
    columns: dict[str, Any] = {**coverage_columns(covered), **measures.columns(names, len(covered.dates))}
    for name in ("volume", "difference"):  # what is recorded of minutes whose file is gone agrees with nothing
        columns[name][columns["bars"] == 0] = math.nan
    restated = derived.former_versions(parts).survey(names, covered.first, covered.last, MOST_FORMER_VERSIONS)
    cells = Cells(names, covered.dates)
    reader = DayReader(parts, cells, covered)
    days = reader.embedded(columns, cells.of_days(day.comparison.symbol_day for day in restated.days), budget)
    return StoreFacts(
        _named(store.config),
        parts.clock.now(),
        covered,
        columns,
        tuple(place_parts.known_state(parts).jobs.latest(JOBS_SHOWN)),
        _rejected(parts, cells, covered, columns["rejected"]),
        reader.broken(days.stored),
        restated,
        derived.freshness_survey(parts).survey(names, covered.first, covered.last, derived.surveyed_timeframes(parts)),
        days,
    )


@frozen
class Cells:
    """The symbol-days of a report by number: symbol times sessions, plus the number of the session."""

    symbols: Sequence[Symbol]
    dates: Sequence[TradingDate]

    def day(self, cell: int) -> SymbolDay:
        symbol, session = divmod(cell, len(self.dates))
        return SymbolDay(self.symbols[symbol], self.dates[session])

    def of_days(self, days: Iterable[SymbolDay]) -> list[int]:
        """Return the cells of the days that are among these symbols and sessions."""
        symbols = {symbol: number for number, symbol in enumerate(self.symbols)}
        sessions = {date: number for number, date in enumerate(self.dates)}
        known = (day for day in days if day.symbol in symbols and day.trading_date in sessions)
        return [symbols[day.symbol] * len(self.dates) + sessions[day.trading_date] for day in known]


def _named(config: StoreConfig) -> str:
    """Return the configured name, or the last two folders of the store's path: no more of the machine than needed."""
    return config.metrics.store or "/".join(Path(config.store_name).parts[-2:])


def _rejected(parts: Parts, cells: Cells, covered: CoverageReport, rejected: Any) -> QualitySurvey:
    import numpy as np

    found = np.flatnonzero(rejected)
    newest_first = found[np.argsort(-(found % max(1, len(cells.dates))), kind="stable")].tolist()
    days = [cells.day(cell) for cell in newest_first]
    years = range(covered.first.day.year, covered.last.day.year + 1)
    return derived.quarantine(parts).survey(days, cells.symbols, years, MOST_QUARANTINE_FILES)


class DayReader:
    """Reads the bars of symbol-days to be embedded, and finds which of them break a rule."""

    def __init__(self, parts: Parts, cells: Cells, covered: CoverageReport) -> None:
        self._parts, self._cells = parts, cells
        self._starts = covered.symbols[0].grid.starts
        self._examples, self._read, self._unreadable = derived.new_rule_examples(), 0, list[str]()

    def embedded(self, columns: Columns, restated: Iterable[int], budget: int) -> EmbeddedDays:
        """Return packed bars of the days that are worth it, and of the newest, as far as the budget reaches."""
        from marketpipe.report_page.embedded_days import SHARE_OF_PROBLEMS, Budget, EmbeddedDays, worth_embedding

        filled, (problems, others) = Budget(budget), worth_embedding(columns, restated)
        filled.fill(problems, self._checked, SHARE_OF_PROBLEMS)
        filled.fill(others, self._checked)
        filled.fill([cell for cell in problems if cell not in filled.packed], self._checked)
        return EmbeddedDays(filled.packed, len(problems) + len(others))

    def broken(self, stored: int) -> QualitySurvey:
        """Return which rules the bars break that were read, of so many symbol-days that are stored."""
        return self._examples.survey(self._read, stored, self._unreadable)

    def packed(self, day: SymbolDay) -> str | None:
        """Return the packed bars of one symbol-day; None if it has none that can be read."""
        cells = self._cells.of_days([day])
        return next((text for _, text in self._packed(cells, lambda _: None)), None) if cells else None

    def _checked(self, cells: Sequence[int]) -> Iterator[tuple[int, str]]:
        return self._packed(cells, self._check)

    def _packed(self, cells: Sequence[int], check: Callable[[ColumnarBars], None]) -> Iterator[tuple[int, str]]:
        import pyarrow as pa

        from marketpipe.report_page.embedded_days import packed_day

        for bars in self._bars([self._cells.day(cell) for cell in cells]):
            table, days = pa.table(bars), self._cells.of_days(part.symbol_day for part in bars.slices)
            check(bars)
            for part, cell in zip(bars.slices, days, strict=True):
                start = self._starts[cell % len(self._starts)]
                yield cell, packed_day(table.slice(part.offset, part.length), start)

    def _bars(self, days: Sequence[SymbolDay]) -> Iterator[ColumnarBars]:
        """Yield the bars of these days; a file that cannot be read costs its own day alone."""
        try:
            bars = composition.stored_bars(self._parts).read(days)
        except PartitionUnreadableError as error:
            if len(days) == 1:
                self._unreadable.append(str(error))
                return
            for day in days:
                yield from self._bars([day])
        else:
            yield bars

    def _check(self, bars: ColumnarBars) -> None:
        self._read += len(bars.slices)
        for day, rule, severity, rows in side_rings.broken_rules(self._parts).of(bars):
            key = RuleKey(rule, severity, STORED)
            self._examples.add(key, day.symbol_day.symbol, day.symbol_day.trading_date, rows)


class LiveReport:
    """A store that changes while its page is open: the ``LiveStore`` of a server.

    Facts are collected again if the state has changed, and if they are older than ``LONGEST_AGE`` seconds: a deleted
    file, new aggregates and a session that ends change no state. At most once in ``REST`` times as long as that takes:
    a large store is not assessed without a pause.
    """

    def __init__(
        self, store: ReportableStore, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> None:
        self._store, self._scope = store, (symbols, start, end)
        self._payload: dict[str, Any] | None = None
        self._facts: StoreFacts | None = None
        self._version: object = None
        self._due, self._expires, self._collecting = 0.0, 0.0, threading.Lock()
        self._server, self._changes = secrets.token_hex(8), 0  # no other server's tag is taken for one of this

    def payload(self) -> dict[str, Any]:
        """Return the facts, collected again if they may have changed; or, while a thread does that, the former ones."""
        if not self._collecting.acquire(blocking=self._payload is None):
            return self._payload or {}
        try:
            return self._current()
        finally:
            self._collecting.release()

    def _current(self) -> dict[str, Any]:
        now, version = self._store._parts.clock.monotonic(), derived.version_of(self._store._parts)
        has_changed = version != self._version and now >= self._due
        if self._payload is None or has_changed or now >= self._expires:
            found = self._collected(now)
            self._payload, self._version = self._tagged(found), version
        return self._payload

    def _collected(self, began: float) -> dict[str, Any]:
        from marketpipe.report_page.payload import payload

        self._facts = collected(self._store, *self._scope, budget=BYTES_CHECKED)
        found = payload(self._facts, live=True)
        ended = self._store._parts.clock.monotonic()
        pause = REST * (ended - began)
        self._due, self._expires = ended + pause, ended + max(pause, LONGEST_AGE)
        return found

    def _tagged(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the facts with a tag: the former one if they differ by nothing but their moment."""
        former = self._payload or {}
        if {**former, "made_at": found["made_at"]} != {**found, "tag": former.get("tag")}:
            self._changes += 1
        return {**found, "tag": f"{self._server}-{self._changes}"}

    def bars(self, symbol: str, date: str) -> str | None:
        """Return the packed bars of a symbol-day of the report; None if it has none. Raises ``ValidationError``."""
        if self._facts is None:
            self.payload()
        covered = None if self._facts is None else self._facts.coverage
        if covered is None:
            return None
        cells = Cells([each.symbol for each in covered.symbols], covered.dates)
        return DayReader(self._store._parts, cells, covered).packed(SymbolDay(Symbol(symbol), TradingDate.parse(date)))
