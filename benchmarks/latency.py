"""Measure throughput with a slow provider, compared with the most that its latency allows.

    python benchmarks/latency.py [--latency-ms 50 150 400] [--workers 2] [--pages 120] [--runs 5] [--folder DIR]

While the provider takes --latency-ms for each response, each worker can get one page of 10,000 bars in that time. The
machine cannot ingest more than it does without latency. The smaller of the two limits is 1.00. Runs are interleaved,
results are medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.page_server import PAGE_LIMIT, PageServer
from benchmarks.pipelines import FIRST, ingest, last_date, numbered_symbols, pipeline_config

BARS_A_DAY, SESSIONS = 390, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=int, nargs="+", default=[50, 150, 400])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pages", type=int, default=120, help="pages of all workers together")
    parser.add_argument("--executor", default="threads", choices=["threads", "processes"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parse_options(parser)
    last = last_date(SESSIONS)
    symbols = numbered_symbols(max(1, round(options.pages * PAGE_LIMIT / SESSIONS / BARS_A_DAY)))
    latencies, rates = [0, *options.latency_ms], dict[int, list[float]]()
    with ExitStack() as stack:
        root = stack.enter_context(TemporaryDirectory(dir=options.folder))
        urls = {
            ms: stack.enter_context(PageServer(str(FIRST), last, BARS_A_DAY, latency_ms=ms)).url for ms in latencies
        }
        for number in range(options.runs + 1):  # the first round only renders the pages
            for ms, url in urls.items():
                rate = _throughput(url, symbols, last, root, options)
                if number:
                    rates.setdefault(ms, []).append(rate)
    _print(rates, options.workers, f"{options.workers} workers, {options.executor}")


def _throughput(url: str, symbols: list[str], last: str, root: str, options: argparse.Namespace) -> float:
    config = pipeline_config(
        Path(mkdtemp(dir=root)), url, symbols, last, workers=options.workers, executor=options.executor
    )
    started = time.perf_counter()
    return ingest(config).bars / (time.perf_counter() - started)


def _print(rates: dict[int, list[float]], workers: int, title: str) -> None:
    without_latency = statistics.median(rates[0])
    print(f"{'ratio':>10}{'bars/s':>10}{'limit':>10}   {title}")
    for ms, some in rates.items():
        rate, allowed = (
            statistics.median(some),
            min(without_latency, workers * PAGE_LIMIT / ms * 1000 if ms else without_latency),
        )
        print(f"{rate / allowed:>10.2f}{rate:>10,.0f}{allowed:>10,.0f}   {ms} ms")


if __name__ == "__main__":
    main()
