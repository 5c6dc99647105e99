"""Measure what metrics of a large store cost: a scrape, and the measurements behind it.

    python benchmarks/metrics_cost.py [--symbols 500] [--years 5] [--folder DIR]

It makes a store of that size in a temporary folder (every day file is a link to one of a few files), and serves it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.linked_store import FOLDERS, make_store
from prometheus_client import CollectorRegistry

from marketpipe import Pipeline, PipelineConfig, Symbol
from marketpipe.measuring import measure
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

LAST = date(2024, 12, 31)
SCRAPES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        symbols = [Symbol(f"S{number:04}") for number in range(options.symbols)]
        first, last = TradingDate(date(LAST.year - options.years + 1, 1, 1)), TradingDate(LAST)
        make_store(Path(folder), symbols, ExchangeCalendar(latest=last).sessions(first, last), official=True)
        places = {key: Path(folder) / name for key, name in FOLDERS.items()}
        config = PipelineConfig(provider="alpaca", symbols=symbols, start=first, end=last, **places)  # type: ignore[arg-type]
        with Pipeline(config, registry=CollectorRegistry()) as pipeline:
            _measure(pipeline)


def _measure(pipeline: Pipeline) -> None:
    for what, assess in (("files and coverage", True), ("files alone", False)):
        started, cpu = time.perf_counter(), time.process_time()
        measure(pipeline, assess=assess)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"measure {what}: {seconds:.1f} s, {cpu:.1f} s processor time", flush=True)
    pipeline.health()
    with pipeline.serve_metrics(port=0) as server:
        urllib.request.urlopen(server.address).read()
        started = time.perf_counter()
        for _ in range(SCRAPES):
            size = len(urllib.request.urlopen(server.address).read())
        print(f"scrape: {(time.perf_counter() - started) / SCRAPES * 1e3:.1f} ms, {size:,} bytes")


if __name__ == "__main__":
    main()
