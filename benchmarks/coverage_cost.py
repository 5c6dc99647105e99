"""Measure what coverage of a large store costs in seconds and memory, with synthetic checkpoints and linked files.

    python benchmarks/coverage_cost.py [--symbols 500] [--years 5] [--without-official-days] [--folder DIR]

It makes a store of that size in a temporary folder (every day file is a link to one of a few files). Then it computes
coverage in a new process, first of a tenth of the symbols and then of all, to show what grows with the store.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.linked_store import make_store

from marketpipe import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

LAST = date(2024, 12, 31)
MEASURE = """
import resource, sys, time
from marketpipe import StoreConfig
from marketpipe.store import Store
root, symbols = sys.argv[1], sys.argv[2].split(",")
config = StoreConfig(**{f"{name}_path": f"{root}/{name}" for name in ("aggregates", "quarantine", "revisions")},
                     output_path=f"{root}/data", state_path=f"{root}/state/marketpipe.sqlite")
with Store(config) as store:
    before, started, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    report = store.coverage(symbols)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    days = len(report.symbols) * len(report.dates)
    print(f"{len(report.symbols):5} symbols x {len(report.dates)} sessions = {days:8,} symbol-days: {seconds:6.2f} s, "
          f"{cpu:6.2f} s processor time, {seconds / days * 1e6:5.1f} us per symbol-day, peak RSS {peak / 1024:6.0f} MB "
          f"(+{(peak - before) / 1024:.0f}), complete: {report.ok}", flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--without-official-days", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        symbols = [Symbol(f"S{number:04}") for number in range(options.symbols)]
        first = TradingDate(date(LAST.year - options.years + 1, 1, 1))
        calendar = ExchangeCalendar(latest=TradingDate(LAST))
        started = time.perf_counter()
        sessions = calendar.sessions(first, TradingDate(LAST))
        make_store(Path(folder), symbols, sessions, official=not options.without_official_days)
        print(f"store made in {time.perf_counter() - started:.0f} s (not measured)", flush=True)
        for some in (symbols[: max(1, len(symbols) // 10)], symbols):
            subprocess.run([sys.executable, "-c", MEASURE, folder, ",".join(map(str, some))], check=True)


if __name__ == "__main__":
    main()
