"""The whole pipeline against the least possible work and against what people write instead, from the same pages.

    python benchmarks/ingest.py [--bars-a-day 390 900 20] [--symbols 20] [--sessions 60] [--workers 2] [--runs 5]

Interleaved, medians, each run into a fresh folder below --folder. MarketPipe does all it always does: every rule,
quarantine, checkpoints, metrics, durable files. See least_work.py and peers.py for the other sides; --without-peers
leaves the slow ones out. The processor time of processes is that of their parent alone, and says nothing. Thin symbols
(20 bars) are five times as many, or too little would happen. Nothing is deleted before the end: for minutes ext4 passes
over what has just been deleted, which takes longer than all the rest.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import least_work, peers
from benchmarks.comparison import interleaved, print_table
from benchmarks.page_server import PageServer
from benchmarks.pipelines import FIRST, config_in, ingest, last_of, symbols_called

LEAST = "least work"
THIN = 50
Way = Callable[[Path], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars-a-day", type=int, nargs="+", default=[390, 900, 20])
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as root:
        for bars_a_day in options.bars_a_day:
            _compare(bars_a_day, options.symbols * (5 if bars_a_day < THIN else 1), root, options)


def _compare(bars_a_day: int, count: int, root: str, options: argparse.Namespace) -> None:
    last, symbols = last_of(options.sessions), symbols_called(count)
    with PageServer(str(FIRST), last, bars_a_day) as server:
        ways = {name: partial(_afresh, way, root) for name, way in _ways(server.url, symbols, last, options).items()}
        bars = {name: way() for name, way in ways.items()}  # and all is imported and rendered

        def before(_: str) -> None:
            os.sync()  # what one way left in memory is not the next one's to wait for

        def after(name: str, found: int) -> None:
            if found != bars[LEAST]:
                raise SystemExit(f"{name} found {found} bars, not {bars[LEAST]}")

        results = interleaved(ways, options.runs, before, after)
    title = f"{bars_a_day} bars a symbol-day: {bars[LEAST]:,} bars into {count * options.sessions:,} files"
    print_table(f"{title}, {options.workers} workers", results, [LEAST], bars[LEAST], "bars")


def _ways(url: str, symbols: list[str], last: str, options: argparse.Namespace) -> dict[str, Way]:
    span = url, symbols, str(FIRST), last
    marketpipe = {
        f"MarketPipe, {executor}": partial(_marketpipe, url, symbols, last, options.workers, executor)
        for executor in ("threads", "processes")
    }
    others: dict[str, Way] = {
        "Polars script, nothing synced": lambda folder: peers.polars_script(*span, folder, options.workers),
        "alpaca-py, nothing synced": lambda folder: peers.alpaca_py(*span, folder),
    }
    return {
        LEAST: lambda folder: least_work.ingest(*span, folder, options.workers),
        **marketpipe,
        **({} if options.without_peers else others),
    }


def _marketpipe(url: str, symbols: list[str], last: str, workers: int, executor: str, folder: Path) -> int:
    """Of the extended session: that is how many bars come, whatever their hours."""
    return ingest(config_in(folder, url, symbols, last, workers=workers, executor=executor, session="extended")).bars


def _afresh(way: Way, root: str) -> int:
    return way(Path(mkdtemp(dir=root)))


if __name__ == "__main__":
    main()
