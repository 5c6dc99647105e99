"""A soak: a year of many symbols through the whole pipeline, watched from outside. What grows?

    python benchmarks/soak.py [--symbols 1000] [--sessions 250] [--bars-a-day 20] [--workers 4] [--folder DIR]

A page server of its own answers (see page_server.py); the real command line ingests, validates, stores, records and
aggregates. While it runs, its memory, open files and threads are read from /proc, and the size of the state with its
write-ahead log from the folder. Printed are the curve over the symbol-days stored, the growth of the state for each of
them, the throughput of every tenth, and a verdict. The store is deleted at the end.
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

from benchmarks.page_server import PageServer

from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

FIRST = TradingDate.parse("2024-01-02")
SECONDS_BETWEEN_LOOKS = 0.25
MEGABYTE = 1 << 20
FLAT_MEMORY, FLAT_THROUGHPUT = 1.10, 0.80
KEYS = {"ALPACA_KEY": "soak", "ALPACA_SECRET": "soak"}


class Look(NamedTuple):
    """The ingesting process at one moment; ``stored`` are symbol-days."""

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
    parser.add_argument("--timeframes", default="5m, 1d", help="what to aggregate to; empty for nothing")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
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
        looks, code = _watched(Path(folder), days)
        counts = server.counts()
    print(
        f"exit code {code}, {counts['requests']:,.0f} requests, {counts['bars']:,.0f} bars sent; "
        f"the server took {counts['processor_seconds']:.1f} s of processor"
    )
    sys.exit(code or not _report(looks, days))


def _configure(folder: Path, url: str, options: argparse.Namespace, first: str, last: str) -> None:
    symbols = ", ".join(f"S{number:04}" for number in range(options.symbols))
    (folder / "config.yaml").write_text(
        f"provider: alpaca\nsymbols: [{symbols}]\nstart: {first}\nend: {last}\nworkers: {options.workers}\n"
        f"timeframes: [{options.timeframes}]\n"
        f'alpaca: {{base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )


def _watched(folder: Path, days: int) -> tuple[list[Look], int]:
    command = [sys.executable, "-m", "marketpipe", "ingest", "--config", "config.yaml"]
    log, started, looks = folder / "output.txt", time.monotonic(), list[Look]()
    with open(log, "w") as output:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **KEYS}, stdout=output, stderr=output)
        for look in _looks(process, folder, started):
            looks.append(look)
            if len(looks) % 120 == 0:
                print(f"  {look.seconds:5.0f} s: {look.stored:,} of {days:,}", flush=True)
    if process.returncode:
        print(log.read_text()[-2000:])
    return looks, process.returncode


def _looks(process: subprocess.Popen[bytes], folder: Path, started: float) -> Iterator[Look]:
    while process.poll() is None:
        if (look := _look(process.pid, folder, time.monotonic() - started)) is not None:
            yield look
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _look(process: int, folder: Path, seconds: float) -> Look | None:
    proc = Path(f"/proc/{process}")
    try:
        pages = int((proc / "statm").read_text().split()[1])
        files, threads = len(os.listdir(proc / "fd")), len(os.listdir(proc / "task"))
    except (OSError, IndexError):  # it has just ended
        return None
    state = folder / "state" / "marketpipe.sqlite"
    size = sum(path.stat().st_size for path in (state, Path(f"{state}-wal")) if path.exists())
    aggregates = len(list((folder / "aggregates").glob("timeframe=*/*"))) if (folder / "aggregates").exists() else 0
    return Look(seconds, _stored(state), aggregates, pages * os.sysconf("SC_PAGE_SIZE"), files, threads, size)


def _stored(state: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{state.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (done,) = connection.execute("SELECT coalesce(sum(done), 0) FROM jobs").fetchone()
            return int(done)
    except sqlite3.OperationalError:  # not made yet
        return 0


def _report(looks: Sequence[Look], days: int) -> bool:
    ingesting = [look for look in looks if look.stored < days]
    at = {share: _at(ingesting, days, share) for share in (10, 25, 50, 75, 90, 100)}
    print(f"\n{'':>14} {'seconds':>8} {'RSS MB':>7} {'files':>6} {'threads':>8} {'state MB':>9}")
    for share, look in at.items():
        print(f"stored {share:>6}% {_line(look)}")
    aggregating = looks[len(ingesting) :]
    for share in (10, 50, 100) if aggregating[-1:] and aggregating[-1].aggregates else ():
        print(f"aggregated {share:>2}% {_line(_aggregated(aggregating, share))}"[:62])
    bytes_a_day = (at[100].state - at[10].state) / (at[100].stored - at[10].stored or 1)
    print(f"\nstate: {bytes_a_day:,.0f} bytes for each symbol-day between 10 % and 100 %")
    paces = [_pace(looks, days, share) for share in range(10, 101, 10)]
    print("symbol-days a second, tenth by tenth: " + ", ".join(f"{pace:,.0f}" for pace in paces))
    return _verdict(at, paces[0], paces[-1])


def _aggregated(looks: Sequence[Look], share: int) -> Look:
    return next(look for look in looks if look.aggregates * 100 >= looks[-1].aggregates * share)


def _line(look: Look) -> str:
    state = f"{look.state / MEGABYTE:>9.1f}"
    return f"{look.seconds:>8.1f} {look.memory / MEGABYTE:>7.0f} {look.files:>6} {look.threads:>8} {state}"


def _verdict(at: dict[int, Look], first: float, last: float) -> bool:
    checks = {
        f"memory at 100 % is {at[100].memory / at[50].memory:.2f} of that at 50 % (at most {FLAT_MEMORY})": (
            at[100].memory <= FLAT_MEMORY * at[50].memory
        ),
        f"open files {at[10].files} and {at[100].files}": at[100].files <= at[10].files + 2,
        f"threads {at[10].threads} and {at[100].threads}": at[100].threads <= at[10].threads,
        f"the last tenth ran at {last / first:.2f} of the first's pace (at least {FLAT_THROUGHPUT})": (
            last >= FLAT_THROUGHPUT * first
        ),
    }
    if any(later == earlier for earlier, later in pairwise(at.values())):
        print("too short a run to tell one tenth from another: give it more symbols")
    for check, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'} {check}")
    print(f"verdict: {'flat' if all(checks.values()) else 'NOT FLAT'}")
    return all(checks.values())


def _at(looks: Sequence[Look], days: int, share: int) -> Look:
    """The first look at which so many percent were stored; the last where there is none."""
    return next((look for look in looks if look.stored * 100 >= days * share), looks[-1])


def _pace(looks: Sequence[Look], days: int, share: int) -> float:
    """Symbol-days a second in the tenth that ends there; the first begins with the first that was stored."""
    upto, since = _at(looks, days, share), _at(looks, days, share - 10)
    if share == 10:
        since = next((look for before, look in pairwise(looks) if look.stored and not before.stored), since)
    return max(1, upto.stored - since.stored) / max(0.001, upto.seconds - since.seconds)


if __name__ == "__main__":
    main()
