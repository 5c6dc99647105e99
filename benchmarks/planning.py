"""python benchmarks/planning.py: does planning cost as much as was requested, or as much as is stored?

It makes two stores of linked files and recorded checkpoints (see linked_store.py); the larger one has more symbols and
a longer history. It measures plan, coverage, status and an ingestion that has nothing to do, once for the same
symbol-days in both stores and once for the whole store. Every run is a process of its own that was warmed up; runs are
interleaved, results are medians. Then it measures the processor time of the real command line on a store, with
aggregates of four timeframes, for which there is nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.linked_store import FOLDERS, make_store

from marketpipe import Symbol, Timeframe, TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

CREDENTIALS = {"ALPACA_KEY": "planning", "ALPACA_SECRET": "planning"}
FIRST, LAST = TradingDate.parse("2015-01-02"), TradingDate.parse("2024-12-31")
TIMEFRAMES = tuple(map(Timeframe.parse, ("5m", "15m", "1h", "1d")))
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Removed from the environment: with it every process would compile MarketPipe again."""
REQUESTED_SYMBOLS, EQUAL_RATIO, LINEAR_RATIO, RERUN_SECONDS = 40, 1.5, 1.5, 2.0
OPERATIONS = ("plan", "coverage", "status", "ingest")
MEASURE = """
import json, sys, time
from marketpipe import Pipeline
operation, symbols, start, end = sys.argv[1:]
with Pipeline.from_config("config.yaml") as pipeline:
    def run(symbols, start):
        if operation == "status":
            return pipeline.status()
        return getattr(pipeline, operation)(symbols, start, end)
    run(symbols.split(",")[:1], end)
    wall, processor = time.perf_counter(), time.process_time()
    report = run(symbols.split(","), start)
    print(json.dumps([time.perf_counter() - wall, time.process_time() - processor]))
    assert operation != "ingest" or report.requests == 0 and report.ok and not report.aggregates.written, report
    assert operation != "coverage" or report.ok, report
"""
WIDTHS = (14, 10, 10, 14, 10, 10)
Runs = dict[tuple[str, str, str], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000, help="symbol-days")
    parser.add_argument("--large", type=int, default=100_000, help="symbol-days")
    parser.add_argument("--asked", type=int, default=1_000, help="symbol-days")
    parser.add_argument("--rerun-symbols", type=int, default=500)
    parser.add_argument("--rerun-sessions", type=int, default=250)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        passed = _compare_stores(Path(folder), options)
        passed = _measure_rerun(Path(folder), options) and passed
    sys.exit(not passed)


def _compare_stores(folder: Path, options: argparse.Namespace) -> bool:
    stores: dict[str, _LinkedStore] = {}
    for name, size in (("small", options.small), ("large", options.large)):
        symbols = REQUESTED_SYMBOLS if name == "small" else 5 * REQUESTED_SYMBOLS
        stores[name] = _LinkedStore(folder / name, symbols, max(1, size // symbols))
    runs, small_symbols = Runs(), stores["small"].symbols
    for _, operation, (name, store) in product(range(options.runs), OPERATIONS, stores.items()):
        asked = {
            "some": (small_symbols, max(1, options.asked // len(small_symbols))),
            "all": (store.symbols, store.sessions),
        }
        for scope, (symbols, sessions) in asked.items() if operation != "status" else [("all", asked["all"])]:
            runs.setdefault((operation, name, scope), []).append(store.measure(operation, symbols, sessions))
    return _print({key: statistics.median(times) for key, times in runs.items()}, stores, options.asked)


class _LinkedStore:
    def __init__(self, root: Path, symbols: int, sessions: int) -> None:
        self.root, self.sessions = root, sessions
        self.symbols = [f"S{number:04}" for number in range(symbols)]
        listed = ExchangeCalendar(LAST).sessions(FIRST, LAST)[-sessions:]
        self.dates = [str(session.trading_date) for session in listed]
        make_store(root, [Symbol(name) for name in self.symbols], listed, TIMEFRAMES, official=True)
        (root / "config.yaml").write_text(
            f"provider: alpaca\nsymbols: [{', '.join(self.symbols)}]\nstart: {self.dates[0]}\nend: {self.dates[-1]}\n"
            f'timeframes: [{", ".join(map(str, TIMEFRAMES))}]\nalpaca: {{feed: iex, base_url: "http://127.0.0.1:9"}}\n'
            + "".join(f"{key}: {path}\n" for key, path in FOLDERS.items())
        )
        print(f"{self}: store made (not measured)", flush=True)

    def __str__(self) -> str:
        return f"{len(self.symbols)} symbols x {self.sessions} sessions = {self.days:,} symbol-days"

    @property
    def days(self) -> int:
        return len(self.symbols) * self.sessions

    def measure(self, operation: str, symbols: list[str], sessions: int) -> float:
        """Return the wall clock seconds of ``operation`` on the latest ``sessions`` sessions."""
        arguments = [operation, ",".join(symbols), self.dates[-sessions], self.dates[-1]]
        printed = self.run("-c", MEASURE, *arguments)
        seconds, _ = json.loads(printed.splitlines()[-1])
        return float(seconds)

    def run(self, *arguments: str) -> str:
        env = {name: value for name, value in os.environ.items() if name != NO_BYTECODE} | CREDENTIALS
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.root, env=env, check=True, text=True, stdout=subprocess.PIPE
        ).stdout


def _print(median: Mapping[tuple[str, str, str], float], stores: Mapping[str, _LinkedStore], asked: int) -> bool:
    print(f"\n{asked:,} symbol-days of each store; then all of each, with the ratio of the costs per symbol-day\n")
    titles = ("large / small", "small ms", "large ms", "all: ratio", "small ms", "large ms")
    print(f"{'':<10}" + "".join(f"{title:>{width}}" for title, width in zip(titles, WIDTHS, strict=True)))
    passed = True
    small, large = stores["small"].days, stores["large"].days
    for operation in OPERATIONS:
        all_small, all_large = median[operation, "small", "all"], median[operation, "large", "all"]
        linear = all_large / large / (all_small / small)
        cells, equal = f"{'':>34}", 0.0
        if operation != "status":
            some = median[operation, "small", "some"], median[operation, "large", "some"]
            equal = some[1] / some[0]
            cells = f"{equal:>14.2f}{some[0] * 1e3:>10.1f}{some[1] * 1e3:>10.1f}"
        print(f"{operation:<10}{cells}{linear:>14.2f}{all_small * 1e3:>10.1f}{all_large * 1e3:>10.1f}")
        passed = passed and equal <= EQUAL_RATIO and linear <= LINEAR_RATIO
    print(f"\n{'ok  ' if passed else 'FAIL'} large / small is at most {EQUAL_RATIO}, all: ratio at most {LINEAR_RATIO}")
    return passed


def _measure_rerun(folder: Path, options: argparse.Namespace) -> bool:
    store = _LinkedStore(folder / "rerun", options.rerun_symbols, options.rerun_sessions)
    spent = []
    for _ in range(options.runs + 1):
        before = _children_seconds()
        store.run("-m", "marketpipe", "ingest", "--config", "config.yaml", "--json")
        spent.append(_children_seconds() - before)
    middle = statistics.median(spent[1:])
    passed = middle < RERUN_SECONDS
    print(f"{'ok  ' if passed else 'FAIL'} an ingestion with nothing to do: {middle:.2f} s processor time, from "
          f"{min(spent[1:]):.2f} to {max(spent[1:]):.2f}; {middle / store.days * 1e6:.1f} us per symbol-day "
          f"(at most {RERUN_SECONDS} s)")  # fmt: skip
    return passed


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
