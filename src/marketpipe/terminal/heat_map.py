"""Sessions across, symbols down, a coloured sign for each verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from marketpipe.coverage_report import CoverageReport
from marketpipe.ingestion.domain.coverage.symbol_coverage import SymbolCoverage
from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.shared_kernel.domain.trading_date import TradingDate

SIGNS = {
    Verdict.MISSING: ("x", "bold red"),
    Verdict.SUSPECT: ("?", "bold magenta"),
    Verdict.PARTIAL: ("▒", "yellow"),
    Verdict.PENDING: ("○", "cyan"),
    Verdict.COMPLETE: ("█", "green"),
    Verdict.EMPTY: ("·", "blue"),
    Verdict.UNLISTED: ("-", "bright_black"),
}
"""The worst first: it stands for all where one sign has to."""
RANK = {verdict: rank for rank, verdict in enumerate(SIGNS)}
MOST_ROWS = 60
NARROWEST = 20


def heat_map(report: CoverageReport, width: int) -> Iterator[Text]:
    """Lines that fit into ``width`` columns; several sessions share a sign where they have to."""
    rows = sorted(report.symbols, key=_worst_first)[:MOST_ROWS]
    margin = max(len(str(coverage.symbol)) for coverage in rows) + 1
    shared = math.ceil(len(report.dates) / max(NARROWEST, width - margin))
    yield Text(" " * margin + _months(report.dates[::shared]), style="bold")
    for coverage in sorted(rows, key=lambda row: row.symbol):
        line = Text(f"{coverage.symbol!s:<{margin}}")
        verdicts = coverage.verdicts
        for start in range(0, len(verdicts), shared):
            line.append(*SIGNS[min(verdicts[start : start + shared], key=RANK.__getitem__)])
        yield line
    if left := len(report.symbols) - len(rows):
        yield Text(f"… and {left:,} more symbols, none of them worse than these")
    yield _legend(shared)


def _worst_first(coverage: SymbolCoverage) -> tuple[int, int]:
    gaps = sum(coverage.count(verdict) for verdict in Verdict if verdict.is_gap)
    return -sum(coverage.count(verdict) for verdict in Verdict if verdict.disproves), -gaps


def _months(dates: Sequence[TradingDate]) -> str:
    """A label where a month begins, as long as there is room for it."""
    line, month = "", ""
    for position, date in enumerate(dates):
        label = f"{date.day:%Y-%m} "
        if label != month and position >= len(line) and (not position or position + len(label) <= len(dates) + 1):
            line = line.ljust(position) + label
        month = label
    return line.rstrip()


def _legend(shared: int) -> Text:
    legend = Text()
    for verdict in Verdict:
        sign, style = SIGNS[verdict]
        legend.append(sign, style).append(f" {verdict}  ")
    if shared > 1:
        legend.append(f"(each sign: the worst of {shared} sessions)")
    return legend
