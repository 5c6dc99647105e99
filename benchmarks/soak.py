"""A soak test: ingest a year of many symbols through the whole pipeline and show which resources grow.

    python benchmarks/soak.py [--symbols 1000] [--sessions 250] [--bars-a-day 20] [--workers 4] [--folder DIR]

A local page server is the provider (see page_server.py); the real command line ingests, validates, stores, records and
aggregates. While it runs, its memory, open files and threads are sampled from /proc, and the size of the state and its
write-ahead log from the folder. The output shows these figures over the number of stored symbol-days, the growth of the
state per symbol-day, the throughput of each tenth of the run, and a verdict. The store is deleted at the end.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.page_server import PageServer

from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

FIRST = TradingDate.parse("2024-01-02")
SAMPLE_SECONDS = 0.25
MEGABYTE = 1 << 20
FLAT_MEMORY, FLAT_THROUGHPUT = 1.10, 0.80
CREDENTIALS = {"ALPACA_KEY": "soak", "ALPACA_SECRET": "soak"}


class Sample(NamedTuple):
    """The ingesting process at one moment: ``stored`` in symbol-days, ``memory`` and ``state`` in bytes."""

    seconds: float
    stored: int
    aggregates: int
    memory: int
    files: int
    threads: int
    state: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=250)
    parser.add_argument("--bars-a-day", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--timeframes", default="5m, 1d", help="timeframes to aggregate to; empty for none")
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    far = FIRST.plus_days(options.sessions * 2)
    dates = [session.trading_date for session in ExchangeCalendar(latest=far).sessions(FIRST, far)]
    first, last = str(dates[0]), str(dates[options.sessions - 1])
    days = options.symbols * options.sessions
    print(
        f"{options.symbols:,} symbols x {options.sessions} sessions = {days:,} symbol-days of {options.bars_a_day} bars"
    )
    with (
        PageServer(first, last, options.bars_a_day) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        _configure(Path(folder), server.url, options, first, last)
        samples, code = _run_and_sample(Path(folder), days)
        counts = server.counts()
    print(
        f"exit code {code}, {counts['requests']:,.0f} requests, {counts['bars']:,.0f} bars sent; "
        f"the server used {counts['processor_seconds']:.1f} s processor time"
    )
    sys.exit(code or not _report(samples, days))


def _configure(folder: Path, url: str, options: argparse.Namespace, first: str, last: str) -> None:
    symbols = ", ".join(f"S{number:04}" for number in range(options.symbols))
    (folder / "config.yaml").write_text(
        f"provider: alpaca\nsymbols: [{symbols}]\nstart: {first}\nend: {last}\nworkers: {options.workers}\n"
        f"timeframes: [{options.timeframes}]\n"
        f'alpaca: {{base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )


def _run_and_sample(folder: Path, days: int) -> tuple[list[Sample], int]:
    command = [sys.executable, "-m", "marketpipe", "ingest", "--config", "config.yaml"]
    log, started, samples = folder / "output.txt", time.monotonic(), list[Sample]()
    with open(log, "w") as output:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **CREDENTIALS}, stdout=output, stderr=output)
        for sample in _samples(process, folder, started):
            samples.append(sample)
            if len(samples) % 120 == 0:
                print(f"  {sample.seconds:5.0f} s: {sample.stored:,} of {days:,}", flush=True)
    if process.returncode:
        print(log.read_text()[-2000:])
    return samples, process.returncode


def _samples(process: subprocess.Popen[bytes], folder: Path, started: float) -> Iterator[Sample]:
    while process.poll() is None:
        if (sample := _sample(process.pid, folder, time.monotonic() - started)) is not None:
            yield sample
        time.sleep(SAMPLE_SECONDS)


def _sample(process: int, folder: Path, seconds: float) -> Sample | None:
    proc = Path(f"/proc/{process}")
    try:
        pages = int((proc / "statm").read_text().split()[1])
        files, threads = len(os.listdir(proc / "fd")), len(os.listdir(proc / "task"))
    except (OSError, IndexError):  # the process has just ended
        return None
    state = folder / "state" / "marketpipe.sqlite"
    size = sum(path.stat().st_size for path in (state, Path(f"{state}-wal")) if path.exists())
    aggregates = len(list((folder / "aggregates").glob("timeframe=*/*"))) if (folder / "aggregates").exists() else 0
    return Sample(seconds, _stored(state), aggregates, pages * os.sysconf("SC_PAGE_SIZE"), files, threads, size)


def _stored(state: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{state.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (done,) = connection.execute("SELECT coalesce(sum(done), 0) FROM jobs").fetchone()
            return int(done)
    except sqlite3.OperationalError:  # not created yet
        return 0


def _report(samples: Sequence[Sample], days: int) -> bool:
    ingesting = [sample for sample in samples if sample.stored < days]
    if not ingesting:
        print("the run ended before it could be sampled: use more symbols")
        return False
    at = {share: _sample_at(ingesting, days, share) for share in (10, 25, 50, 75, 90, 100)}
    print(f"\n{'':>14} {'seconds':>8} {'RSS MB':>7} {'files':>6} {'threads':>8} {'state MB':>9}")
    for share, sample in at.items():
        print(f"stored {share:>6}% {_line(sample)}")
    aggregating = samples[len(ingesting) :]
    for share in (10, 50, 100) if aggregating[-1:] and aggregating[-1].aggregates else ():
        print(f"aggregated {share:>2}% {_line(_sample_at_aggregates(aggregating, share))}"[:62])
    bytes_a_day = (at[100].state - at[10].state) / (at[100].stored - at[10].stored or 1)
    print(f"\nstate: {bytes_a_day:,.0f} bytes per symbol-day between 10 % and 100 %")
    throughputs = [_throughput(samples, days, share) for share in range(10, 101, 10)]
    print("symbol-days per second, in each tenth of the run: " + ", ".join(f"{rate:,.0f}" for rate in throughputs))
    return _verdict(at, throughputs[0], throughputs[-1])


def _sample_at_aggregates(samples: Sequence[Sample], share: int) -> Sample:
    return next(sample for sample in samples if sample.aggregates * 100 >= samples[-1].aggregates * share)


def _line(sample: Sample) -> str:
    state = f"{sample.state / MEGABYTE:>9.1f}"
    return f"{sample.seconds:>8.1f} {sample.memory / MEGABYTE:>7.0f} {sample.files:>6} {sample.threads:>8} {state}"


def _verdict(at: dict[int, Sample], first: float, last: float) -> bool:
    checks = {
        f"memory at 100 % is {at[100].memory / at[50].memory:.2f} of that at 50 % (at most {FLAT_MEMORY})": (
            at[100].memory <= FLAT_MEMORY * at[50].memory
        ),
        f"open files {at[10].files} and {at[100].files}": at[100].files <= at[10].files + 2,
        f"threads {at[10].threads} and {at[100].threads}": at[100].threads <= at[10].threads,
        f"throughput of the last tenth is {last / first:.2f} of the first tenth's (at least {FLAT_THROUGHPUT})": (
            last >= FLAT_THROUGHPUT * first
        ),
    }
    if any(later == earlier for earlier, later in pairwise(at.values())):
        print("the run is too short to tell its tenths apart: use more symbols")
    for check, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'} {check}")
    print(f"verdict: {'flat' if all(checks.values()) else 'NOT FLAT'}")
    return all(checks.values())


def _sample_at(samples: Sequence[Sample], days: int, share: int) -> Sample:
    """Return the first sample with ``share`` percent of the symbol-days stored; the last sample if there is none."""
    return next((sample for sample in samples if sample.stored * 100 >= days * share), samples[-1])


def _throughput(samples: Sequence[Sample], days: int, share: int) -> float:
    """Return the symbol-days per second of the tenth that ends at ``share`` percent. Start-up time does not count."""
    upto, since = _sample_at(samples, days, share), _sample_at(samples, days, share - 10)
    if share == 10:
        since = next((sample for before, sample in pairwise(samples) if sample.stored and not before.stored), since)
    return max(1, upto.stored - since.stored) / max(0.001, upto.seconds - since.seconds)


if __name__ == "__main__":
    main()
