"""What a slow provider costs: throughput against what workers x pages allow.

    python benchmarks/latency.py [--latency-ms 50 150 400] [--workers 2] [--pages 120] [--runs 5] [--folder DIR]

A provider that takes so long for every answer allows each worker one page of 10,000 bars in that time, and a machine
no more than it takes in from a provider that answers at once: the lesser of the two is 1.00. Interleaved, medians.
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

from benchmarks.page_server import MOST_BARS, PageServer
from benchmarks.pipelines import FIRST, config_in, ingest, last_of, symbols_called

BARS_A_DAY, SESSIONS = 390, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=int, nargs="+", default=[50, 150, 400])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pages", type=int, default=120, help="so many for all workers together")
    parser.add_argument("--executor", default="threads", choices=["threads", "processes"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    last = last_of(SESSIONS)
    symbols = symbols_called(round(options.pages * MOST_BARS / SESSIONS / BARS_A_DAY))
    latencies, paces = [0, *options.latency_ms], dict[int, list[float]]()
    with ExitStack() as stack:
        root = stack.enter_context(TemporaryDirectory(dir=options.folder))
        urls = {
            ms: stack.enter_context(PageServer(str(FIRST), last, BARS_A_DAY, latency_ms=ms)).url for ms in latencies
        }
        for number in range(options.runs + 1):  # the first one renders the pages
            for ms, url in urls.items():
                pace = _pace(url, symbols, last, root, options)
                if number:
                    paces.setdefault(ms, []).append(pace)
    _print(paces, options.workers, f"{options.workers} workers, {options.executor}")


def _pace(url: str, symbols: list[str], last: str, root: str, options: argparse.Namespace) -> float:
    config = config_in(Path(mkdtemp(dir=root)), url, symbols, last, workers=options.workers, executor=options.executor)
    started = time.perf_counter()
    return ingest(config).bars / (time.perf_counter() - started)


def _print(paces: dict[int, list[float]], workers: int, title: str) -> None:
    at_once = statistics.median(paces[0])
    print(f"{'of allowed':>10}{'bars/s':>10}{'allowed':>10}   {title}")
    for ms, some in paces.items():
        pace, allowed = statistics.median(some), min(at_once, workers * MOST_BARS / ms * 1000 if ms else at_once)
        print(f"{pace / allowed:>10.2f}{pace:>10,.0f}{allowed:>10,.0f}   {ms} ms")


if __name__ == "__main__":
    main()
