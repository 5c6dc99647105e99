"""A store in memory, of checkpoints and official days alone, that coverage judges as it judges any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from attrs import asdict, define
from benchmarks.drawn_market import DrawnBars

from marketpipe.config import CoverageConfig
from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
from marketpipe.ingestion.domain.coverage.baseline import CoverageThresholds
from marketpipe.ingestion.domain.coverage.verdict import Finding
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.integration.domain.data_feed import USUAL_DELAY
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import (
    EXTENDED_OPEN,
    SessionHours,
    SessionKind,
    TradedMinutes,
    TradingCalendar,
    TradingDate,
    TradingSession,
)
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator

VERSION = RecordedVersion("a mark", Timestamp.parse("2024-06-01T00:00:00Z"), "ab" * 32)
EMPTY = IngestionCheckpoint(Outcome.EMPTY, SessionHours.EXTENDED)
Records = Sequence[IngestionCheckpoint]
OfficialOfDates = Mapping[TradingDate, OfficialDay | None]


@define
class StoredSymbol:
    records: Records
    official: OfficialOfDates


@define
class SymbolReader:
    """Turns drawn bars into what a store records of them."""

    sessions: Sequence[TradingSession]
    calculator: FigureCalculator

    @classmethod
    def of(cls, sessions: Sequence[TradingSession], calendar: TradingCalendar) -> SymbolReader:
        return cls(sessions, FigureCalculator(calendar))

    def read(self, bars: DrawnBars) -> StoredSymbol:
        dates = [session.trading_date for session in self.sessions]
        figures = self.calculator.of_days(dates, bars.traded.sum(1).tolist(), self._table(bars))
        records = [
            EMPTY
            if found is None
            else IngestionCheckpoint(
                Outcome.COMPLETE,
                SessionHours.EXTENDED,
                rows=int(traded.sum()),
                version=VERSION,
                minutes=TradedMinutes(np.packbits(traded, bitorder="little").tobytes().rstrip(b"\0")),
                figures=found,
            )
            for traded, found in zip(bars.traded, figures, strict=True)
        ]
        official = {
            date: None if np.isnan(row[0]) else OfficialDay(*row.tolist())
            for date, row in zip(dates, bars.official, strict=True)
        }
        return StoredSymbol(records, official)

    def _table(self, bars: DrawnBars) -> pa.Table:
        starts = np.array([session.trading_date.at(EXTENDED_OPEN).epoch_micros for session in self.sessions], np.int64)
        times = starts[:, None] + np.arange(bars.traded.shape[1])[None, :] * 60_000_000
        columns = {"timestamp": pa.array(times[bars.traded]).cast(BAR_SCHEMA.field("timestamp").type)}
        for name in ("open", "high", "low", "close", "volume"):
            columns[name] = pa.array(getattr(bars, name)[bars.traded].astype(np.float64))
        return pa.table(columns)


@define
class RecordedDays:
    """The checkpoints or the official days of symbols, by date."""

    dates: Sequence[TradingDate]
    of: Mapping[Symbol, Mapping[TradingDate, Any]]

    def between(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, Any]:
        found = self.of.get(symbol, {})
        return (
            found
            if first <= self.dates[0] and self.dates[-1] <= last
            else {date: day for date, day in found.items() if first <= date <= last}
        )

    def stored_spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        return {
            symbol: (stored[0], stored[-1])
            for symbol, days in self.of.items()
            if (stored := [date for date, day in days.items() if day.rows])
        }

    def premature(self, _: Timestamp) -> Mapping[Any, Timestamp]:
        """No clock ran ahead."""
        return {}

    def conditions(self, *_: object) -> Mapping[TradingDate, VersionCondition]:
        """All files are as they were recorded, and no aggregate is stale."""
        return {}

    stale_aggregates = conditions


@define
class FixedTime:
    moment: Timestamp

    def now(self) -> Timestamp:
        return self.moment


def judge(
    calendar: TradingCalendar, sessions: Sequence[TradingSession], market: Mapping[Symbol, StoredSymbol], official: bool
) -> dict[Symbol, list[Finding]]:
    """Return one finding for each session of each symbol."""
    dates = [session.trading_date for session in sessions]
    recorded = RecordedDays(dates, {s: dict(zip(dates, found.records, strict=True)) for s, found in market.items()})
    days = RecordedDays(dates, {s: found.official for s, found in market.items()} if official else {})
    thresholds = CoverageThresholds(**asdict(CoverageConfig()))
    assessor = CoverageAssessor(
        calendar,
        SessionFinality(USUAL_DELAY),
        recorded,  # type: ignore[arg-type]  # of the ports, only what coverage calls
        recorded,  # type: ignore[arg-type]
        FixedTime(dates[-1].plus_days(30).midnight),  # type: ignore[arg-type]
        thresholds,
        official=days if official else None,
    )
    scope = IngestionScope(tuple(sorted(market)), dates[0], dates[-1], SessionKind.EXTENDED)
    return {found.symbol: [day.finding for day in found.days()] for found in assessor.assess(scope)}
