"""What coverage of a large store costs: seconds and memory, over synthetic checkpoints and linked files.

    python benchmarks/coverage_cost.py [--symbols 500] [--years 5] [--folder DIR]

Makes a store of that size in a folder of its own (every day file is a link to one of a few), then runs
``marketpipe coverage`` on it in a fresh process, and on a tenth of its symbols, so that what grows shows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from marketpipe import DatasetIdentity, SessionHours, SessionKind, StoredSymbolDay, Symbol, SymbolDay
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.traded_minutes import TradedMinutes
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar
from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter, sha256

SINCE = Timestamp(datetime(2025, 6, 1, tzinfo=UTC))
LINKS_A_FILE = 60_000
LAST = date(2024, 12, 31)
MEASURE = """
import resource, sys, time
from marketpipe import StoreConfig
from marketpipe.store_at_rest import StoreAtRest
root, symbols = sys.argv[1], sys.argv[2].split(",")
config = StoreConfig(**{f"{name}_path": f"{root}/{name}" for name in ("aggregates", "quarantine", "revisions")},
                     output_path=f"{root}/data", state_path=f"{root}/state/marketpipe.sqlite")
with StoreAtRest(config) as store:
    before, started, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    report = store.coverage(symbols)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    days = len(report.symbols) * len(report.dates)
    print(f"{len(report.symbols):5} symbols x {len(report.dates)} sessions = {days:8,} symbol-days: {seconds:6.2f} s, "
          f"{cpu:6.2f} s of processor, {seconds / days * 1e6:5.1f} us a day, peak RSS {peak / 1024:6.0f} MB "
          f"(+{(peak - before) / 1024:.0f}), complete: {report.ok}", flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        symbols = [Symbol(f"S{number:04}") for number in range(options.symbols)]
        first = TradingDate(date(LAST.year - options.years + 1, 1, 1))
        calendar = ExchangeCalendar(latest=TradingDate(LAST))
        started = time.perf_counter()
        _make_store(Path(folder), symbols, calendar.sessions(first, TradingDate(LAST)))
        print(f"made in {time.perf_counter() - started:.0f} s (not measured)", flush=True)
        for some in (symbols[: len(symbols) // 10], symbols):
            subprocess.run([sys.executable, "-c", MEASURE, folder, ",".join(map(str, some))], check=True)


def _make_store(root: Path, symbols: list[Symbol], sessions: tuple[TradingSession, ...]) -> None:
    content = ParquetWriter("zstd").encode_bars(_bars(), {})
    digest, state = sha256(content), SQLiteState(root / "state" / "marketpipe.sqlite", "../data")
    state.claim(DatasetIdentity("synthetic", "seed-7", "raw"), SessionKind.EXTENDED)
    random, links, source = np.random.default_rng(7), LINKS_A_FILE, root / "source"
    for number, symbol in enumerate(symbols):
        liquidity = 1.0 if number % 2 else 0.3  # every other symbol is thin
        checkpoints = []
        for session in sessions:
            if links == LINKS_A_FILE:
                links, source = 0, root / f"source-{number}"
                source.write_bytes(content)
                os.utime(source, ns=(SINCE.epoch_micros * 1000,) * 2)
            links += 1
            day = SymbolDay(symbol, session.trading_date)
            _link(source, root / "data", day)
            checkpoints.append(_checkpoint(day, session, random, liquidity, len(content), digest))
        state.record(checkpoints)
    state.close()


def _link(source: Path, data: Path, day: SymbolDay) -> None:
    year, month, number = str(day.trading_date).split("-")
    folder = data / f"symbol={day.symbol}" / f"year={year}" / f"month={month}"
    folder.mkdir(parents=True, exist_ok=True)
    os.link(source, folder / f"day={number}.parquet")


def _checkpoint(
    day: SymbolDay, session: TradingSession, random: np.random.Generator, liquidity: float, size: int, digest: str
) -> IngestionCheckpoint:
    length = (session.closes.epoch_micros - session.opens.epoch_micros) // 60_000_000
    traded = np.zeros(960, np.uint8)
    traded[330 : 330 + length] = random.random(length) < liquidity
    minutes = TradedMinutes(np.packbits(traded, bitorder="little").tobytes().rstrip(b"\0"))
    stored = StoredSymbolDay(
        day, len(minutes), 0, True, session.opens, session.closes, size, digest, minutes=minutes, known_since=SINCE
    )
    outcome = SymbolDayOutcome(day, Outcome.COMPLETE, len(minutes))
    return IngestionCheckpoint(1, outcome, SessionHours.EXTENDED, SINCE, stored)


def _bars() -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(BAR_SCHEMA.names, 1) | {"timestamp": SINCE.moment}], schema=BAR_SCHEMA)


if __name__ == "__main__":
    main()
