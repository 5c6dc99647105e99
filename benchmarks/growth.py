"""Measure how time grows with the work, and how far each part is from what the machine can do: 1, 10 and 100 times.

    python benchmarks/growth.py [--sizes 1 10 100] [--symbols 1] [--sessions 60] [--runs 3] [--folder DIR]

For each size it ingests so many times ``symbols`` symbols, aggregates them to four timeframes, and loads all of it from
read copies. Beside each is the physical limit, the part of the work that no program can leave out, measured alone and
with as many threads: for an ingestion to write the same files and sync them; for aggregates to decode the minutes, and
to write their files and sync them; for loading to decode the copies (Parquet) or to copy the answer once in memory
(Arrow). Figures are millions of bars a second, medians of the runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from attrs import evolve
from benchmarks.comparison import parse_options
from benchmarks.page_server import PageServer
from benchmarks.pipelines import FIRST, ingest, last_date, numbered_symbols, pipeline_config

from marketpipe import Pipeline, StoreConfig

TIMEFRAMES = ["5m", "15m", "1h", "1d"]
SYNCED_AT_ONCE = 8
THREADS = os.cpu_count() or 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--symbols", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    last = last_date(options.sessions)
    print(f"{'millions of bars a second':<28}{'bars':>12}{'MarketPipe':>12}{'limit':>9}{'share':>7}  limited by")
    with PageServer(str(FIRST), last, 390) as server:
        for size in options.sizes:
            symbols = numbered_symbols(size * options.symbols)
            rounds = [_round(server.url, symbols, last, options.folder) for _ in range(options.runs)]
            for title in rounds[0]:
                bars, limited_by = rounds[0][title][0], rounds[0][title][3]
                ours, limit = (statistics.median(each[title][place] for each in rounds) for place in (1, 2))
                figures = f"{bars / ours / 1e6:>12.3f}{bars / limit / 1e6:>9.3f}{limit / ours:>7.2f}"
                print(f"{title:<28}{bars:>12,}{figures}  {limited_by}", flush=True)


Figures = tuple[int, float, float, str]
"""Bars, MarketPipe's seconds, those of the limit, and what that is."""


def _round(url: str, symbols: list[str], last: str, parent: Path | None) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        root = Path(folder)
        config = pipeline_config(root, url, symbols, last, session="extended")
        seconds, bars = _timed(lambda: ingest(config).bars)
        found = {"ingest": (bars, seconds, _seconds_to_write(root, ["data"]), "disk")}
        paths = {f"{name}_path": root / name for name in ("aggregates", "quarantine", "revisions")}
        store = StoreConfig(output_path=root / "data", state_path=config.state_path, **paths)
        with Pipeline(store) as pipeline:
            seconds, _ = _timed(lambda: pipeline.aggregate(timeframes=TIMEFRAMES))
            limit = _seconds_to_decode(root / "data") + _seconds_to_write(root, ["aggregates"])
            found["aggregate day files"] = bars, seconds, limit, "decoder and disk"
            for form in ("parquet", "arrow"):
                found[f"load {form} copies"] = _load(root, store, symbols, last, form)
        return found


def _load(root: Path, store: StoreConfig, symbols: list[str], last: str, form: str) -> Figures:
    with Pipeline(evolve(store, read_copies=form)) as pipeline:
        pipeline.aggregate(timeframes=["1m"])
        pipeline.load(symbols, FIRST, last, complete="ignore")
        seconds, table = _timed(lambda: pipeline.load(symbols, FIRST, last, complete="ignore"))
    if form == "parquet":
        return len(table), seconds, _seconds_to_decode(root / "copies"), "decoder"
    return len(table), seconds, _seconds_to_copy(table), "memory"


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    os.sync()
    started = time.perf_counter()
    result = act()
    return time.perf_counter() - started, result


def _seconds_to_write(root: Path, names: Iterable[str]) -> float:
    """Write the same files again, in new folders, sync them together and rename them."""
    contents = [(path, path.read_bytes()) for name in names for path in sorted((root / name).rglob("*.parquet"))]
    copy = root / "limit"

    def write(some: list[tuple[Path, bytes]]) -> None:
        made = list[tuple[int, Path, Path]]()
        for path, content in some:
            target = copy / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_suffix(".new")
            descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, content)
            made.append((descriptor, temporary, target))
        for descriptor, temporary, target in made:
            os.fsync(descriptor)
            os.close(descriptor)
            temporary.rename(target)

    with ThreadPoolExecutor(SYNCED_AT_ONCE) as threads:
        groups = [contents[first : first + SYNCED_AT_ONCE] for first in range(0, len(contents), SYNCED_AT_ONCE)]
        return _timed(lambda: list(threads.map(write, groups)))[0]


def _seconds_to_decode(folder: Path) -> float:
    contents = [pa.py_buffer(path.read_bytes()) for path in folder.rglob("*.parquet")]

    def decode(some: list[pa.Buffer]) -> None:
        for content in some:
            pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)

    with ThreadPoolExecutor(THREADS) as threads:
        return _timed(lambda: list(threads.map(decode, [contents[first::THREADS] for first in range(THREADS)])))[0]


def _seconds_to_copy(table: pa.Table) -> float:
    columns = [
        chunk.to_numpy() for name in table.column_names[1:] for chunk in table[name].chunks if not chunk.null_count
    ]
    return _timed(lambda: [np.copy(column) for column in columns])[0]


if __name__ == "__main__":
    main()
