"""Importing a user's own bars: the part of the façade that needs no provider, and writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import Final

from attrs import evolve

from marketpipe.ingestion.domain.ingestion_job import IngestionJob
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.integration.application.ports import OwnBars
from marketpipe.integration.domain.table_import import (
    UNADJUSTED,
    ImportPreview,
    ImportSettings,
    capabilities_of_import,
    is_imported,
    provider_name,
)
from marketpipe.reports import ImportReport, IngestionReport
from marketpipe.scoping import Spans, official_spans
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError, count_of
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.store import Store

from . import composition, derived, place_parts, side_rings

BarCounts = Mapping[Symbol, Mapping[TradingDate, int]]
SHOWN: Final = 3


class ImportingStore(Store):
    """A store that takes in tables of its user. ``Pipeline`` adds what asks a market data provider."""

    def import_table(
        self,
        table: object,
        *,
        name: str | None = None,
        columns: Mapping[str, str] | None = None,
        symbol: str | Symbol | None = None,
        symbol_from: str | None = None,
        timezone: str | None = None,
        timeframe: str | Timeframe = Timeframe.MINUTE_1,
        stamps: str | None = None,
        price_unit: str | None = None,
        date_order: str | None = None,
        ambiguous: str | None = None,
        adjustment: str | None = None,
        replace: bool = False,
        dry_run: bool = False,
        on_preview: Callable[[ImportPreview], None] | None = None,
    ) -> ImportReport:
        """Bring a table of your own bars into the store, through the whole ring, as the provider ``import:<name>``.

        ``table`` is an Arrow table, a DataFrame of pandas or Polars, or the path or paths of CSV (also compressed or in
        a zip) and Parquet files. What it does not tell and you do not state is a question: the report of a ``dry_run``
        lists them, and otherwise ``ConfigurationError`` is raised before anything is touched. Only the dates in the
        table are requested, and its bars replace stored ones of the same symbol-days, which are kept as revisions; days
        that would lose bars are a question, unless ``replace`` is true.

        ``columns`` maps open, high, low, close, volume, trade_count, vwap, symbol and timestamp (or date and time) to
        the table's names. ``symbol_from`` is "column" or "name" (of the file), ``timeframe`` "1m", or "1d" for official
        days, ``stamps`` the edge of a bar that its time is ("left" or "right"), ``price_unit`` "dollars", "cents",
        "deci-cents" or "nano-dollars", ``date_order`` "MDY", "DMY" or "YMD", ``ambiguous`` "earliest" or "latest" for
        local times that a clock shows twice, ``adjustment`` how prices are adjusted ("raw" if it is not stated).
        ``on_preview`` is called with the preview before anything is written; what it raises ends the import.
        """
        check_flags(replace=replace, dry_run=dry_run)
        settings = ImportSettings(
            name=self._name_of_import(name),
            columns=columns,
            symbol=symbol,
            symbol_from=symbol_from,
            timezone=timezone,
            timeframe=timeframe,
            stamps=stamps,
            price_unit=price_unit,
            date_order=date_order,
            ambiguous=ambiguous,
            adjustment=adjustment,
        )
        with self._runs.run(), self._recorder.run("import") as ended:
            bars = side_rings.read_own_bars(self._parts, table, settings)
            preview = self._checked(bars, replace=replace)
            if on_preview is not None:
                on_preview(preview)
            if dry_run:
                return ImportReport(preview)
            if preview.questions:
                raise ConfigurationError(f"nothing was imported. {'. '.join(preview.questions)}")
            return ended(ImportReport(preview, self._import(bars)))

    def _name_of_import(self, name: str | None) -> str:
        """Return the provider of an import: by its name, or the configured one; of both only the same."""
        configured = getattr(self._config, "provider", None)
        if configured is not None and not is_imported(configured):
            raise ConfigurationError(
                f"this store is configured for the provider {configured}, and imported bars are another dataset: give "
                "them a store of their own, with another output_path"
            )
        if (wanted := name or configured) is None:
            raise ConfigurationError(
                'an import needs the name of its source: state name="kibot", for instance, for a store of import:kibot'
            )
        if configured is not None and provider_name(wanted) != configured:
            raise ConfigurationError(f"name: {wanted!r} is not the configured {configured}")
        return provider_name(wanted)

    def _checked(self, bars: OwnBars, *, replace: bool) -> ImportPreview:
        """Return the preview with what the stored bars make a question. Raises ``DatasetMismatchError``."""
        shown = bars.preview
        provided = capabilities_of_import(shown.provider, shown.adjustment or UNADJUSTED, shown.timeframe)
        composition.stored_identity(self._parts).check(provided.identity)
        if shown.last is None:
            return shown
        counts, state = bars.dates(), place_parts.known_state(self._parts)
        if shown.timeframe is Timeframe.DAY_1:
            spans = official_spans(state.official_years, counts)
            questions = self._not_final(shown.last)
        else:
            spans = state.checkpoints.stored_spans()
            questions = self._not_begun(shown.last) or self._not_ended(bars.newest)
            if not replace:
                known = counts.keys() & spans.keys()
                stored = {s: state.checkpoints.between(s, min(counts[s]), max(counts[s])) for s in sorted(known)}
                rows = {s: {date: each.rows for date, each in days.items()} for s, days in stored.items()}
                questions += shortened(rows, counts)
        if shown.adjustment not in ("", UNADJUSTED):
            questions += left_in_another_scale(spans, counts)
        return evolve(shown, questions=(*shown.questions, *questions))

    def _not_begun(self, last: TradingDate) -> list[str]:
        session = composition.calendar(self._parts).sessions(last, last)[0]
        if session.extended.start <= self._parts.clock.now():
            return []
        return [
            f"the table has bars of {last}, which has not begun: are the time zone and the order of the dates right?"
        ]

    def _not_ended(self, newest: Timestamp | None) -> list[str]:
        if newest is None or newest.epoch_micros + MICROS_PER_MINUTE <= self._parts.clock.now().epoch_micros:
            return []
        return [f"the table has a bar of {newest}, a minute that has not ended: leave out what is later than now"]

    def _not_final(self, last: TradingDate) -> list[str]:
        newest = self._latest_final()
        if last <= newest:
            return []
        return [f"the table has a daily bar of {last}, which is not final: the newest final session is {newest}"]

    def _import(self, bars: OwnBars) -> IngestionReport:
        """Send the bars through a ring of their own, whose provider reads the table."""
        self._run.reset()
        composition.scanned_years(self._parts).forget()
        self._remove_leftovers()
        wanted = {symbol: frozenset(dates) for symbol, dates in bars.dates().items()}
        dates = frozenset[TradingDate]().union(*wanted.values())
        # regular hours are stated: a store of extended ones refuses them, and loses no bar of other hours
        kind = SessionKind.REGULAR if self._config.session is SessionKind.REGULAR else self._session()
        scope = IngestionScope(tuple(wanted), min(dates), max(dates), kind)
        started = self._parts.clock.monotonic()
        own = side_rings.parts_of_import(self._parts, bars, scope)
        with closing(own) as parts, self._parts.stopping_meanwhile(parts):
            coordinator = composition.coordinator(parts, side_rings.official_days)
            derived.subscribe_aggregates_ahead(parts)
            if bars.preview.timeframe is Timeframe.DAY_1:
                job = coordinator.ingest_official_days(scope, wanted)
            else:
                job = coordinator.ingest_again(scope, wanted)
        return self._report_of_import(job, self._parts.clock.monotonic() - started)

    def _report_of_import(self, job: IngestionJob, seconds: float) -> IngestionReport:
        scope = job.scope
        refreshed = self._aggregate(scope.symbols, scope.first, scope.last)
        return IngestionReport(
            job.job_id,
            str(job.state),
            job.planned,
            job.settled,
            job.not_begun,
            self._run.requests,
            seconds,
            job.outcomes,
            self._run.warnings,
            refreshed.with_prepared(self._run.prepared, self._run.prepared_copies),
            left=job.left,
            official=job.official,
            rejected_without_session=self._run.rejected_without_session,
        )


def check_flags(**flags: object) -> None:
    """Raise ``ValidationError`` for one that is neither true nor false: the text "no" would count as true."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValidationError(f"{name}: expected True or False, not {value!r}")


def shortened(stored: BarCounts, given: BarCounts) -> list[str]:
    """Return the question whether to replace stored days that have more bars than the table; none if there are none."""
    days = [
        (SymbolDay(symbol, date), stored[symbol][date], count)
        for symbol, counts in given.items()
        for date, count in counts.items()
        if stored.get(symbol, {}).get(date, 0) > count
    ]
    if not days:
        return []
    shown = ", ".join(f"{day} ({count:,} instead of {before:,})" for day, before, count in days[:SHOWN])
    more = " …" if len(days) > SHOWN else ""
    return [
        f"{count_of(len(days), 'stored symbol-day')} would lose bars: {shown}{more}. State replace=True to replace "
        "them (the stored bars are kept as revisions), or leave these dates out"
    ]


def left_in_another_scale(spans: Spans, given: BarCounts) -> list[str]:
    """Return a refusal if adjusted prices would replace only a part of a symbol's history: that has one scale."""
    split = [symbol for symbol, dates in given.items() if symbol in spans and _reaches_beyond(spans[symbol], dates)]
    if not split:
        return []
    first, last = spans[split[0]]
    names = ", ".join(map(str, split[:SHOWN]))
    return [
        f"adjusted prices of {names} are stored from {first} to {last}, and the table has a part of them only: a later "
        "split or dividend changes all earlier prices. Import the whole history at once"
    ]


def _reaches_beyond(span: tuple[TradingDate, TradingDate], dates: Collection[TradingDate]) -> bool:
    return span[0] < min(dates) or max(dates) < span[1]
