"""The coverage of a store, printed: a table, a map (sessions across, symbols down, a sign a verdict), and every gap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import asdict
from rich.console import Console
from rich.text import Text

from marketpipe.config import StoreConfig, is_on_disk
from marketpipe.ingestion.domain.coverage.verdict import Evidence, Gap, Suspicion, SymbolCoverage, Verdict
from marketpipe.integration.domain.table_import import ONLY_FILES_BRING_MORE, is_imported
from marketpipe.reports import CoverageReport, day_as_row
from marketpipe.scoping import no_store_at, state_is_lost
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.terminal.output import err, out, print_json, printable
from marketpipe.terminal.tables import print_table

SIGNS = {
    Verdict.MISSING: ("x", "bold bright_red"),
    Verdict.SUSPECT: ("?", "bold magenta"),
    Verdict.SHORT: ("s", "bold yellow"),
    Verdict.PARTIAL: ("▒", "yellow"),
    Verdict.PENDING: ("○", "cyan"),
    Verdict.COMPLETE: ("█", "green"),
    Verdict.EMPTY: ("·", "bright_blue"),
    Verdict.UNLISTED: ("-", "bright_black"),
}
"""The sign and the style of each verdict, the worst verdict first."""
RANK = {verdict: rank for rank, verdict in enumerate(SIGNS)}
"""If several sessions share a sign of the map, it shows the verdict with the lowest rank."""
NAMED = tuple(verdict for verdict in SIGNS if verdict is not Verdict.COMPLETE)
"""The verdicts that the conclusion counts, in its order."""
_TO_REQUEST = (Verdict.MISSING, Verdict.PARTIAL)
FILE_WIDTH = 120
"""Columns of a map that is not printed on a terminal."""
MAX_ROWS = 60
LOST_SHOWN = 10
"""Lost files that are printed: a whole folder of them may be gone."""
MOST_LINES_ALIKE = 3
"""Symbols with the same gap that have a line each."""
LEGEND_SPACE = "  "
MIN_SIGNS = 20
"""Signs of a row on however narrow a terminal."""


def _is_nowhere(config: StoreConfig) -> bool:
    """Return whether no place of a store exists. One that is on no disk was reached for the report already."""
    places = config.output_path, config.official_path, config.state_path
    return all(map(is_on_disk, places)) and not any(map(Path.exists, places))


def print_coverage(
    report: CoverageReport, *, as_json: bool, config: StoreConfig | None = None, has_state: bool = True
) -> None:
    """Print what is stored; first that there is no store in any place of ``config``, or no state, if it is so."""
    if config is not None and _is_nowhere(config):
        err(f"warning: {no_store_at(config.output_path)}")
    if as_json:
        print_json(_as_json(report))
        return
    if config is not None and report.identity is not None and not has_state:
        out(state_is_lost(config.output_path))
    console = Console()
    width = console.width if console.is_terminal else FILE_WIDTH
    if report.dates:
        shown = [verdict for verdict in Verdict if verdict is Verdict.COMPLETE or report.count(verdict)]
        head = ("symbol", *map(str, shown), "bars", "rejected")
        spare = [str(verdict) for verdict in Verdict]
        print_table(head, (_row(coverage, shown) for coverage in report.symbols), spare=[*spare, "rejected"])
        drawn = Text("\n").join([Text(), *heat_map(report, width), Text()])
        console.print(drawn if printable(drawn.plain) == drawn.plain else printable(drawn.plain), soft_wrap=True)
    for line in lines_of((*report.notes(), *report.gaps())):
        out(line)
    if report.lost:
        out(f"{count_of(len(report.lost), 'file')} other than day files lost, which means recorded and gone:")
    for path in report.lost[:LOST_SHOWN]:
        out(f"  {path}")
    if len(report.lost) > LOST_SHOWN:
        out(f"… and {count_of(len(report.lost) - LOST_SHOWN, 'more lost file')}")
    out(_conclusion(report))
    for coverage in report.symbols:
        if report.dates and coverage.count(Verdict.EMPTY) == len(report.dates):
            out(f"{coverage.symbol} has no bars at all: is the symbol right?")
    for advice in _advice(report):
        out(advice)


def _row(coverage: SymbolCoverage, shown: Iterable[Verdict]) -> list[object]:
    return [str(coverage.symbol), *map(coverage.count, shown), coverage.bars, coverage.rejected]


def lines_of(gaps: Sequence[Gap]) -> Iterator[str]:
    """Yield a line for each gap, or one for all symbols that have the same, such as dates that were never requested."""
    symbols_with = dict[str, list[str]]()
    for gap in gaps:
        symbols_with.setdefault(_without_symbol(gap), []).append(str(gap.symbol))
    for gap in gaps:
        text = _without_symbol(gap)
        symbols = symbols_with[text]
        if len(symbols) <= MOST_LINES_ALIKE:
            yield f"{gap.symbol} {text}"
        elif str(gap.symbol) == symbols[0]:
            yield f"{len(symbols):,} symbols {text}: {', '.join(symbols)}"


def _without_symbol(gap: Gap) -> str:
    evidence = gap.finding.evidence
    compared = f" [evidence: {evidence}]" if evidence and evidence is not Evidence.RECORD else ""
    return f"{gap}{compared}".removeprefix(f"{gap.symbol} ")


def _conclusion(report: CoverageReport) -> str:
    counted = f"{count_of(len(report.symbols), 'symbol')}, {count_of(len(report.dates), 'session')}"
    span = f"{counted}, {report.first} to {report.last}"
    if not report.dates:
        return f"{span}: no session of the exchange has begun in that range"
    counts = ", ".join(f"{count:,} {verdict}" for verdict in NAMED if (count := report.count(verdict)))
    if not report.ok:
        return f"{span}: NOT complete: {counts}"
    if report.count(Verdict.PARTIAL):
        return f"{span}: nothing is missing or suspect, but not complete yet: {counts}"
    return f"{span}: complete" + (f", except for {counts}" if counts else "")


def _advice(report: CoverageReport) -> Iterator[str]:
    findings = [gap.finding for gap in report.gaps()]
    if findings and report.identity is not None and is_imported(report.identity.provider):
        yield ONLY_FILES_BRING_MORE
        return
    suspicions = {found.suspicion for found in findings if found.suspicion and found.verdict is Verdict.SUSPECT}
    if any(finding.verdict is Verdict.SHORT for finding in findings):
        yield (
            "short: the provider was asked again and has no more, and the evidence is against it; 'marketpipe coverage "
            "--strict' exits with 1 for it, and 'marketpipe audit --adopt' requests it once more"
        )
    to_request = suspicions & {Suspicion.ALTERED, Suspicion.FORMER_SCALE}
    if to_request or any(finding.verdict in _TO_REQUEST for finding in findings):
        yield "'marketpipe ingest' requests only what is missing or damaged, or partial and final by now"
    if any(suspicion.asking_helps and suspicion is not Suspicion.ALTERED for suspicion in suspicions):
        yield (
            "'marketpipe ingest --retry-suspect' requests suspect sessions again; if the provider repeats its answer, "
            "they are short"
        )
    if Suspicion.STALE_AGGREGATE in suspicions:
        yield "'marketpipe aggregate' rebuilds aggregates that do not agree with their minute bars"
    if Suspicion.UNRECORDED in suspicions:
        yield (
            "'marketpipe ingest' requests sessions with an unrecorded file and merges the bars: first move away files "
            "that do not belong here. Files on dates without a session are never changed"
        )


def heat_map(report: CoverageReport, width: int) -> Iterator[Text]:
    """Yield lines of at most ``width`` columns; if there are more sessions than columns, several share a sign."""
    rows = sorted(report.symbols, key=_worst_first)[:MAX_ROWS]
    margin = max(len(str(coverage.symbol)) for coverage in rows) + 1
    shared = math.ceil(len(report.dates) / max(MIN_SIGNS, width - margin))
    yield Text(" " * margin + _months(report.dates[::shared]), style="bold")
    for coverage in sorted(rows, key=lambda row: row.symbol):
        line = Text(f"{coverage.symbol!s:<{margin}}")
        verdicts = coverage.verdicts
        for start in range(0, len(verdicts), shared):
            line.append(*SIGNS[min(verdicts[start : start + shared], key=RANK.__getitem__)])
        yield line
    if left := len(report.symbols) - len(rows):
        yield Text(f"… and {count_of(left, 'more symbol')}, none of them worse than these")
    yield from _legend(shared, width)


def _worst_first(coverage: SymbolCoverage) -> tuple[int, int]:
    gaps = sum(coverage.count(verdict) for verdict in Verdict if verdict.is_gap)
    return -sum(coverage.count(verdict) for verdict in Verdict if verdict.disproves), -gaps


def _months(dates: Sequence[TradingDate]) -> str:
    """Label the first session of a month, if there is room for it."""
    line, month = "", ""
    for position, date in enumerate(dates):
        label = f"{date.day:%Y-%m} "
        if label != month and position >= len(line) and (not position or position + len(label) <= len(dates) + 1):
            line = line.ljust(position) + label
        month = label
    return line.rstrip()


def _legend(shared: int, width: int) -> Iterator[Text]:
    """Yield what the signs mean, in lines of at most ``width`` columns."""
    entries = [Text.assemble(SIGNS[verdict], f" {verdict}") for verdict in Verdict]
    if shared > 1:
        entries.append(Text(f"(each sign shows the worst of {shared} sessions)"))
    line = entries[0]
    for entry in entries[1:]:
        if len(line) + len(LEGEND_SPACE) + len(entry) > width:
            yield line
            line = entry
        else:
            line = Text.assemble(line, LEGEND_SPACE, entry)
    yield line


def _as_json(report: CoverageReport) -> dict[str, object]:
    return {
        "complete": report.ok,
        "strictly_complete": report.strict_ok,
        "first": str(report.first),
        "last": str(report.last),
        "session": str(report.session),
        "sessions": len(report.dates),
        "symbols": [
            {
                "symbol": str(coverage.symbol),
                **{str(verdict): coverage.count(verdict) for verdict in Verdict},
                "bars": coverage.bars,
                "rejected": coverage.rejected,
            }
            for coverage in report.symbols
        ],
        "gaps": [_gap_as_json(gap) for gap in report.gaps()],
        "days": [day_as_row(day) for day in report.days()],
    }


def _gap_as_json(gap: Gap) -> dict[str, object]:
    span = asdict(gap, recurse=False, filter=lambda attribute, _: attribute.name != "finding")
    finding = gap.finding
    reason = {"verdict": finding.verdict, "suspicion": finding.suspicion, "detail": finding.detail}
    return {**span, **reason, "evidence": str(finding.evidence)}
