"""Compare the whole pipeline with the least possible work and with common scripts, all fed with the same pages.

    python benchmarks/ingest.py [--bars-a-day 390 900 20] [--symbols 20] [--sessions 60] [--workers 2] [--runs 5]

Runs are interleaved, results are medians, each run writes into a new folder below --folder. MarketPipe does all its
usual work: every rule, quarantine, checkpoints, metrics, durable files; also with four timeframes of aggregates, and
with these and read copies. The other candidates are in least_work.py and peers.py; --without-peers leaves out the slow
ones. For the executor "processes" ignore the processor time: it does not include the workers. With thin symbols (20
bars) there are five times as many symbols, so that a run has enough to do. Nothing is deleted before the end: ext4 is
slow for minutes after a deletion, which would distort the results.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import least_work, peers
from benchmarks.comparison import measure_interleaved, parse_options, print_table
from benchmarks.page_server import PageServer
from benchmarks.pipelines import FIRST, ingest, last_date, numbered_symbols, pipeline_config

LEAST = "least work"
THIN = 50
FOUR = {"timeframes": ["5m", "15m", "1h", "1d"]}
KEPT: Mapping[str, Mapping[str, object]] = {
    "": {},
    ", 4 timeframes": FOUR,
    ", 4 and Parquet": {**FOUR, "read_copies": "parquet"},
    ", 4 and Arrow": {**FOUR, "read_copies": "arrow"},
}
"""What an ingestion makes besides day files: aggregates, and read copies."""
Candidate = Callable[[Path], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars-a-day", type=int, nargs="+", default=[390, 900, 20])
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path())
    options = parse_options(parser)
    with TemporaryDirectory(dir=options.folder) as root:
        for bars_a_day in options.bars_a_day:
            _compare(bars_a_day, options.symbols * (5 if bars_a_day < THIN else 1), root, options)


def _compare(bars_a_day: int, count: int, root: str, options: argparse.Namespace) -> None:
    last, symbols = last_date(options.sessions), numbered_symbols(count)
    with PageServer(str(FIRST), last, bars_a_day) as server:
        candidates = {
            name: partial(_in_new_folder, candidate, root)
            for name, candidate in _candidates(server.url, symbols, last, options).items()
        }
        # This also warms up: it imports everything and renders all pages.
        bars = {name: candidate() for name, candidate in candidates.items()}

        def before(_: str) -> None:
            os.sync()  # the next candidate must not wait for what the one before left to write

        def after(name: str, count: int) -> None:
            if count != bars[LEAST]:
                raise SystemExit(f"{name} ingested {count} bars, not {bars[LEAST]}")

        results = measure_interleaved(candidates, options.runs, before, after)
    title = f"{bars_a_day} bars per symbol-day: {bars[LEAST]:,} bars into {count * options.sessions:,} files"
    print_table(f"{title}, {options.workers} workers", results, [LEAST], bars[LEAST], "bars")


def _candidates(url: str, symbols: list[str], last: str, options: argparse.Namespace) -> dict[str, Candidate]:
    span = url, symbols, str(FIRST), last
    marketpipe = {
        f"MarketPipe, {executor}{name}": partial(_ingest, url, symbols, last, options.workers, executor, kept)
        for executor in ("threads", "processes")
        for name, kept in KEPT.items()
    }
    others: dict[str, Candidate] = {
        "Polars script, nothing synced": lambda folder: peers.polars_script(*span, folder, options.workers),
        "alpaca-py, nothing synced": lambda folder: peers.alpaca_py(*span, folder),
    }
    return {
        LEAST: lambda folder: least_work.ingest(*span, folder, options.workers),
        **marketpipe,
        **({} if options.without_peers else others),
    }


def _ingest(
    url: str, symbols: list[str], last: str, workers: int, executor: str, kept: Mapping[str, object], folder: Path
) -> int:
    """Ingest the extended session, so that every bar the server sends is stored; return the number of bars."""
    changes = {"workers": workers, "executor": executor, "session": "extended", **kept}
    return ingest(pipeline_config(folder, url, symbols, last, **changes)).bars


def _in_new_folder(candidate: Candidate, root: str) -> int:
    return candidate(Path(mkdtemp(dir=root)))


if __name__ == "__main__":
    main()
