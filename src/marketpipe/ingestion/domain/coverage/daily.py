"""The coverage of symbols and sessions of which only daily bars were imported: there are no minutes to judge."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.classification import NEVER_ASKED, PENDING
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding, SymbolCoverage, Verdict
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate

Span = tuple[TradingDate, TradingDate]
STORED, NO_BAR = Finding(Verdict.COMPLETE), Finding(Verdict.EMPTY)
NOT_IMPORTED: Final = Finding(Verdict.UNLISTED)
NOT_STORED: Final = Finding(Verdict.MISSING, "neither its daily bar nor its minutes are stored")
ONLY_ITS_DAY: Final = Finding(Verdict.MISSING, "its daily bar is stored, and no minutes were imported")


def daily_coverage(
    symbol: Symbol, grid: SessionGrid, days: Mapping[TradingDate, OfficialDay | None], span: Span | None = None
) -> SymbolCoverage:
    """Return whether each session has its daily bar, which counts as one bar. ``days`` are as in ``OfficialDays``.

    ``span``: the first and the last date that are judged.
    """
    findings = [
        (NO_BAR if days[date] is None else STORED) if date in days else (NOT_STORED if item.final else PENDING)
        for date, item in zip(grid.dates, grid.sessions, strict=True)
    ]
    findings = within_the_import(findings, grid.dates, span)
    without_minutes = SymbolCoverage.of(SymbolDays(symbol, [None] * len(grid), {}), grid, findings)
    return evolve(without_minutes, bars=array("l", [finding is STORED for finding in findings]))


def within_the_import(findings: list[Finding], dates: Sequence[TradingDate], span: Span | None) -> list[Finding]:
    """Return the findings with nothing missing before the first and after the last date of the ``span``."""
    if span is None:
        return findings
    return [
        NOT_IMPORTED if finding in (NOT_STORED, NEVER_ASKED) and not span[0] <= date <= span[1] else finding
        for date, finding in zip(dates, findings, strict=True)
    ]


def with_days_alone(
    findings: Sequence[Finding], dates: Sequence[TradingDate], days: Mapping[TradingDate, OfficialDay | None]
) -> list[Finding]:
    """Return the findings on the minutes of a symbol, with a reason of their own for dates that have a daily bar."""
    return [
        ONLY_ITS_DAY if finding is NEVER_ASKED and days.get(date) is not None else finding
        for date, finding in zip(dates, findings, strict=True)
    ]
