"""Compare reading from MarketPipe with ArcticDB, one Parquet file a symbol-year, and DuckDB over the same day files.

    python benchmarks/read.py [--symbols 500] [--years 40] [--bars-a-day 390] [--runs 7] [--folder DIR]

All have the same bars: a month of ``symbols`` symbols, and a year of the first ``years``. Six questions, in interleaved
runs with warm caches: one symbol-year; ``years`` symbols x 1 year; a fifth of the symbols x 1 month; one day, and the
last close, of all symbols; the mean close of ``years`` symbols over the year. The answers are compared before anything
is measured; the candidates, each open already, are in readers.py. "day files" is MarketPipe without read copies. Then
each candidate reads ``years`` symbols x 1 year in a process of its own, to find its peak memory relative to the answer.
ArcticDB is in the extra "bench".
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
import pyarrow.compute as pc
from benchmarks import readers
from benchmarks.comparison import Results, measure_interleaved, parse_options, print_table, ratio_of
from benchmarks.readers import ARCTIC, DAY_FILES, LOADS, ONE_FILE, OURS, Reader, Span
from benchmarks.synthetic_store import first_sessions, make_store, numbered_symbols

from marketpipe.shared_kernel.domain.trading_date import TradingSession

SESSIONS = 252
NEAR = 1e-9
"""How far means may differ, relative to their size: a sum of doubles depends on the order of the additions."""
AGAINST = {ARCTIC: "ArcticDB", ONE_FILE: "one file", f"{LOADS}, {DAY_FILES}": DAY_FILES}


class Question(NamedTuple):
    title: str
    method: str
    span: Span

    def ask(self, reader: Reader) -> Any:
        return getattr(reader, self.method)(self.span)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--years", type=int, default=40, help="how many of the symbols have a year of bars")
    parser.add_argument("--bars-a-day", type=int, default=390)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root, year = Path(folder).resolve(), first_sessions(SESSIONS)
        month = tuple(session for session in year if session.trading_date.day.month == year[-1].trading_date.day.month)
        _make_stores(root, options, year, month)
        questions = _questions(options, year, month)
        candidates = readers.open_all(root)
        found = {question.title: _measure(question, candidates, options.runs) for question in questions}
        _print_ratios("time relative to", found)
        processor = {title: _with_processor_seconds(results) for title, results in found.items()}
        _print_ratios("processor time relative to", processor)
        _print_peaks(root, list(candidates), questions[1].span)


def _make_stores(
    root: Path, options: argparse.Namespace, year: tuple[TradingSession, ...], month: tuple[TradingSession, ...]
) -> None:
    """Make the day files once, with MarketPipe's copies of them, and the same bars in the peers' files."""
    symbols, days = numbered_symbols(options.symbols), root / "days"
    make_store(days, symbols[: options.years], year, options.bars_a_day)
    make_store(days, symbols[options.years :], month, options.bars_a_day)
    readers.make_copies(root)
    tables = ((str(symbol), readers.day_files_of(days, str(symbol))) for symbol in symbols)
    readers.write_peers(root, year[0].trading_date.day.year, tables)


def _questions(
    options: argparse.Namespace, year: tuple[TradingSession, ...], month: tuple[TradingSession, ...]
) -> list[Question]:
    names = [str(symbol) for symbol in numbered_symbols(options.symbols)]
    years, some = names[: options.years], names[: max(1, len(names) // 5)]
    first, begins, last = (session.trading_date for session in (year[0], month[0], month[-1]))
    return [
        Question("one symbol-year", "bars", Span(names[:1], first, last)),
        Question(f"{len(years)} symbols x 1 year", "bars", Span(years, first, last)),
        Question(f"{len(some)} symbols x 1 month", "bars", Span(some, begins, last)),
        Question(f"one day of {len(names)} symbols", "bars", Span(names, last, last)),
        Question(f"last close of {len(names)} symbols", "last_closes", Span(names, last, last)),
        Question(f"mean close of {len(years)} x 1 year", "mean_closes", Span(years, first, last)),
    ]


def _measure(question: Question, candidates: Mapping[str, Reader], runs: int) -> Results:
    asked: dict[str, Callable[[], Any]] = {
        name: partial(question.ask, reader)
        for name, reader in candidates.items()
        if question.method not in readers.NOT_ASKED.get(name, ())
    }
    answers = {name: candidates[name].table_of(ask(), question.span) for name, ask in asked.items()}  # warms up as well
    expected = answers[ONE_FILE]
    for name, answer in answers.items():
        if not _are_equal(answer, expected):
            raise SystemExit(
                f"{question.title}: {name} has {len(answer):,} other rows than {ONE_FILE}, {len(expected):,}"
            )
    results = measure_interleaved(asked, runs)
    title = f"{question.title}, {len(expected):,} rows"
    print_table(title, results, [ARCTIC], len(expected), "rows")
    return results


def _are_equal(answer: pa.Table, expected: pa.Table) -> bool:
    found = answer.select(expected.column_names).cast(expected.schema)
    if len(expected.column_names) > 2 or len(found) != len(expected):
        return bool(found.equals(expected))
    closes, others = (table.sort_by("symbol")["close"] for table in (found, expected))
    near = pc.less(pc.abs(pc.subtract(closes, others)), pc.multiply(pc.abs(others), NEAR))
    return bool(pc.all(near).as_py())


def _with_processor_seconds(results: Results) -> Results:
    """Return the results with processor time as their time: it varies less beside other work."""
    return {name: [each._replace(seconds=each.processor) for each in some] for name, some in results.items()}


def _print_ratios(title: str, found: Mapping[str, Results]) -> None:
    """Print how many times as long as others each of MarketPipe's ways takes: medians over the rounds."""
    print(f"\n{title:<62}" + "".join(f"{name:>12}" for name in AGAINST.values()))
    for question, results in found.items():
        for name in results:
            if name.startswith(OURS):
                ratios = (ratio_of(results, name, other) if other in results else None for other in AGAINST)
                figures = "".join(f"{'' if ratio is None else format(ratio, '.2f'):>12}" for ratio in ratios)
                print(f"{question:<28}{name:<34}{figures}", flush=True)


def _print_peaks(root: Path, names: list[str], span: Span) -> None:
    title = f"peak memory of {len(span.symbols)} x 1 year / the answer"
    print(f"\n{title:<46}{'resident':>12}{'its own':>12}")
    for name in names:
        command = [sys.executable, readers.__file__, str(root), name, str(span.first), str(span.last), *span.symbols]
        peaks = subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip()
        print(f"{name:<46}{peaks}")


if __name__ == "__main__":
    main()
