"""Aggregation 1m to 5m, 15m, 1h and 1d: MarketPipe against a hand-written DuckDB query over the day files.

    python benchmarks/aggregate.py [--symbols 52] [--sessions 250] [--bars-a-day 390] [--runs 5] [--folder DIR]

The query is in duckdb_aggregation.py. MarketPipe reads the same day files, or read copies of them. The query and the
command run in their own processes, so that each pays for its start. All write new files of the same kind; MarketPipe
also syncs its files and records in each which minutes it was made from. In the first round the bars are compared. Then
single days are changed, one after another, and the cost of bringing the aggregates up to date is compared with the
cost of a full aggregation: once for the full store, as "marketpipe aggregate" does it, and once for the changed symbol
and date only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.comparison import measure_interleaved, median, parse_options, print_table
from benchmarks.synthetic_store import first_sessions, make_store, numbered_symbols, synthetic_bars, write_day

from marketpipe import AggregationReport, Pipeline, StoreConfig, Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingSession

TIMEFRAMES = "5m,15m,1h,1d"
HALF_DAYS = 12
"""More than there are in the years of the calendar."""
COUNT_DIFFERENCES = """
SELECT count(*), count(*) FILTER (
    (one.open, one.high, one.low, one.close, one.volume, one.trade_count) IS DISTINCT FROM
    (other.open, other.high, other.low, other.close, other.volume, other.trade_count)
    OR coalesce(abs(one.vwap - other.vwap) > 1e-9, true))
FROM peer AS one FULL JOIN ours AS other USING (symbol, timestamp)
"""
QUERY = Path(__file__).parent / "duckdb_aggregation.py"
PEER, OURS, LIBRARY = "DuckDB", "marketpipe aggregate", "Pipeline.aggregate"
COPIES = {f"{LIBRARY}, {form} copies": form for form in ("parquet", "arrow")}
"""What reads copies, with their form."""
EVERYTHING, ONE_DAY = "after one changed day: everything", "after one changed day: that day"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=52)
    parser.add_argument("--sessions", type=int, default=250)
    parser.add_argument("--bars-a-day", type=int, default=390)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        Aggregation(Path(folder).resolve(), options).measure(options.runs)


class Aggregation:
    """The benchmark. Each run has a new folder with a link to the minutes, because a disk is slow after a deletion."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self._root, self._run, self._changes, self._peaks = root, 0, 0, dict[str, float]()
        self._first: Path | None = None
        self._symbols, self._sessions = numbered_symbols(options.symbols), _full_sessions(options.sessions)
        self._bars_a_day = options.bars_a_day
        self._bars = make_store(root, self._symbols, self._sessions, options.bars_a_day, state=False)
        pq.write_table(_session_hours(self._sessions), root / "hours.parquet")
        for form in COPIES.values():
            self._make_folder(form)
            self._aggregate(timeframes=["1m"], read_copies=form)
            (self._folder / "copies").rename(root / form)

    def measure(self, runs: int) -> None:
        candidates: dict[str, Callable[[], object]] = {
            PEER: self._run_query,
            OURS: self._run_command,
            LIBRARY: self._run_library,
            **dict.fromkeys(COPIES, self._run_library),
        }
        full = measure_interleaved(candidates, runs, before=self._make_folder, after=self._compare_bars)
        days = len(self._symbols) * len(self._sessions)
        print_table(f"{self._bars:,} bars in {days:,} day files", full, [PEER], self._bars, "bars")
        print(", ".join(f"peak memory of {name}: {peak:.0f} MB" for name, peak in self._peaks.items()))
        refreshes = {EVERYTHING: self._refresh_all, ONE_DAY: self._refresh_one}
        incremental = measure_interleaved(refreshes, 3 * runs, before=self._change_one_day)
        for name, taken in incremental.items():
            share = median(taken) / median(full[LIBRARY])
            print(f"{share:7.2%} of {LIBRARY} {name}, {median(taken) * 1000:.0f} ms")

    @property
    def _folder(self) -> Path:
        return self._root / f"run-{self._run}"

    def _make_folder(self, name: str) -> None:
        self._run += 1
        self._folder.mkdir()
        (self._folder / "data").symlink_to(self._root / "data")
        if name in COPIES:
            (self._folder / "copies").symlink_to(self._root / COPIES[name])

    def _run_query(self) -> None:
        self._run_process(PEER, str(QUERY), "data", str(self._root / "hours.parquet"), "query")

    def _run_command(self) -> None:
        self._run_process(OURS, "-m", "marketpipe", "aggregate", "--timeframes", TIMEFRAMES)

    def _run_process(self, name: str, *arguments: str) -> None:
        with subprocess.Popen([sys.executable, *arguments], cwd=self._folder, stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name} failed: {process.args}")
        self._peaks[name] = max(self._peaks.get(name, 0), used.ru_maxrss / 1024)

    def _run_library(self) -> AggregationReport:
        return self._aggregate()

    def _refresh_all(self) -> AggregationReport:
        return self._aggregate()

    def _refresh_one(self) -> AggregationReport:
        symbol, session = self._changed_day
        return self._aggregate([symbol], session.trading_date, session.trading_date)

    def _aggregate(
        self, *selection: object, timeframes: Sequence[str] = TIMEFRAMES.split(","), read_copies: str = "none"
    ) -> AggregationReport:
        names = ("aggregates", "quarantine", "revisions")
        paths = {f"{name}_path": self._folder / name for name in names}
        state = self._folder / "state" / "marketpipe.sqlite"
        config = StoreConfig(output_path=self._folder / "data", state_path=state, read_copies=read_copies, **paths)
        with Pipeline(config) as pipeline:
            return pipeline.aggregate(*selection, timeframes=timeframes)

    def _change_one_day(self, _: str) -> None:
        """Write other bars for one day, as an ingestion that replaces its file does."""
        self._changes += 1
        symbol, session = self._changed_day
        write_day(self._root, symbol, session, synthetic_bars(session, self._bars_a_day, (self._changes, 10**6)))

    @property
    def _changed_day(self) -> tuple[Symbol, TradingSession]:
        """Return the day to change: a different one after each change."""
        return self._symbols[self._changes % len(self._symbols)], self._sessions[-self._changes % len(self._sessions)]

    def _compare_bars(self, name: str, _: object) -> None:
        if name == PEER and self._first is None:
            self._first = self._folder
        elif name != PEER and self._run <= len(COPIES) + 5 and self._first is not None:
            for timeframe in TIMEFRAMES.split(","):
                _check_timeframe(self._first, self._folder, timeframe)


def _check_timeframe(peer: Path, ours: Path, timeframe: str) -> None:
    """Check that both made the same bars. VWAPs may differ by rounding: the sums depend on their order."""
    depth = "*" if timeframe == "1d" else "*/*"
    files = {
        "peer": f"{peer}/query/timeframe={timeframe}/symbol=*/{depth}/*.parquet",
        "ours": f"{ours}/aggregates/timeframe={timeframe}/symbol=*/{depth}.parquet",
    }
    with duckdb.connect() as connection:
        for name, pattern in files.items():
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{pattern}', hive_partitioning = true)")
        ((count, differing),) = connection.execute(COUNT_DIFFERENCES).fetchall()
    if differing or not count:
        raise SystemExit(f"{timeframe}: {differing} of {count} bars differ")


def _full_sessions(count: int) -> tuple[TradingSession, ...]:
    """Return sessions that are no half days: those have bars after the close, and the query has no closing auction."""
    sessions = first_sessions(count + HALF_DAYS)
    length = max(session.closes.epoch_micros - session.opens.epoch_micros for session in sessions)
    return tuple(s for s in sessions if s.closes.epoch_micros - s.opens.epoch_micros == length)[:count]


def _session_hours(sessions: tuple[TradingSession, ...]) -> pa.Table:
    rows = []
    for session in sessions:
        bounds = [session.extended.start, session.opens, session.closes, session.extended.end]
        times, midnight = [bound.epoch_micros for bound in bounds], session.trading_date.midnight.epoch_micros
        rows += [(times[part], times[part + 1], midnight, part == 1) for part in range(3)]
    return pa.table(list(zip(*rows, strict=True)), ["hours", "hours_end", "day_start", "regular"])


if __name__ == "__main__":
    main()
