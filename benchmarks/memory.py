"""Measure the peak memory of ingestions of 1, 4 and 16 million bars; it should not grow with the number of bars.

    python benchmarks/memory.py [--millions 1 4 16] [--workers 4] [--executor threads] [--kept none] [--folder DIR]

``--kept`` parquet or arrow: also with four timeframes of aggregates, and read copies of this form. It runs the real
command line and samples it from outside, several times a second: what all its processes together have in memory, of
which what they share counts once (from /proc/PID/smaps). Libraries that other programs have loaded as well count in
full, so that the figure does not depend on what else runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.page_server import PageServer
from benchmarks.pipelines import FIRST, last_date, numbered_symbols

BARS_A_DAY, SESSIONS = 390, 250
FOUR = "[5m, 15m, 1h, 1d]"
KEYS = {"ALPACA_KEY": "memory", "ALPACA_SECRET": "memory"}
OWN = re.compile(r"^Pss_Anon:\s+(\d+) kB", re.MULTILINE)
"""Memory that is of no file: it is shared with forks alone, which are processes of the command."""
MAPPED = re.compile(
    r"^[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+ \S+ [1-9]\d*) .*?^Rss:\s+(\d+) kB.*?^Anonymous:\s+(\d+) kB",
    re.MULTILINE | re.DOTALL,
)
"""A part of a file that is mapped: its position, device and inode, its kB in memory, and those that were changed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--executor", default="threads", choices=["threads", "processes"])
    parser.add_argument("--kept", default="none", choices=["none", "parquet", "arrow"])
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    last = last_date(SESSIONS)
    print(f"{'peak MB':>8}{'bars':>12}{'seconds':>9}{'bars/s':>10}   {options.workers} {options.executor}")
    with PageServer(str(FIRST), last, BARS_A_DAY) as server:
        for millions in options.millions:
            count = max(1, round(millions * 1_000_000 / SESSIONS / BARS_A_DAY))
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                _configure(Path(folder), server.url, count, last, options)
                peak, seconds = _run_and_sample(Path(folder))
            bars = count * SESSIONS * BARS_A_DAY
            print(f"{peak / 1024:>8,.0f}{bars:>12,}{seconds:>9.1f}{bars / seconds:>10,.0f}", flush=True)


def _configure(folder: Path, url: str, count: int, last: str, options: argparse.Namespace) -> None:
    (folder / "config.yaml").write_text(
        f"provider: alpaca\nsymbols: [{', '.join(numbered_symbols(count))}]\nstart: {FIRST}\nend: {last}\n"
        f"session: regular\nworkers: {options.workers}\nexecutor: {options.executor}\n"
        f"timeframes: {'[]' if options.kept == 'none' else FOUR}\nread_copies: {options.kept}\n"
        f'alpaca: {{base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )


def _run_and_sample(folder: Path) -> tuple[int, float]:
    """Run the ingestion; return its peak memory in kB and its seconds."""
    command, log = [sys.executable, "-m", "marketpipe", "ingest", "--config", "config.yaml"], folder / "output.txt"
    peak, started = 0, time.monotonic()
    with open(log, "w") as output:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **KEYS}, stdout=output, stderr=output)
        while process.poll() is None:
            peak = max(peak, _resident([process.pid, *_descendants(process.pid)]))
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(log.read_text()[-2000:])
    return peak, time.monotonic() - started


def _descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    children = [int(child) for child in listed.split()]
    return [*children, *(grandchild for child in children for grandchild in _descendants(child))]


def _resident(pids: Sequence[int]) -> int:
    own, files = 0, dict[str, int]()
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # the process has just ended
            found = OWN.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            own += int(found[1]) if found else 0
            for part, kb, changed_kb in MAPPED.findall(Path(f"/proc/{pid}/smaps").read_text()):
                files[part] = max(files.get(part, 0), int(kb) - int(changed_kb))
    return own + sum(files.values())


if __name__ == "__main__":
    main()
