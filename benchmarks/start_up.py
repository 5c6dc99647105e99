"""python benchmarks/start_up.py: measure the start-up time of commands, relative to ``python -c pass``.

Each command is a process of its own, started with compiled files; runs are interleaved, results are medians. The
ingestions of one symbol-day are requested of a server on loopback. The plan of a week is measured twice: with the
sessions that ship with the package, and with an exchange_calendars that states other rules, so that it is asked.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import Measurement, parse_options
from benchmarks.page_server import PageServer

from marketpipe.shared_kernel.infrastructure.session_table import RULES

CONFIG = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-11-25\nend: 2024-11-29\ntimeframes: [1d]\n"
OF_ALPACA = """
provider: alpaca
symbols: [S000]
start: 2024-11-25
end: 2024-11-25
session: regular
timeframes: []
alpaca: {{base_url: "{url}", rate_limit_per_min: 100000}}
"""
FIRST_DAY, NEXT_DAY = "2024-11-25", "2024-11-26"
LARGEST_RATIOS = {"import marketpipe": 3.0, "marketpipe --help": 10.0}
LARGEST_SECONDS = {"ingest the first symbol-day of a store": 0.8, "ingest the next one": 0.4}
"""The fastest run counts: what other processes of the machine do must not decide."""
BASELINE = "python -c pass"
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Removed from the environment: with it every process would compile MarketPipe again."""
KEYS = {"ALPACA_KEY": "key", "ALPACA_SECRET": "secret"}
LOAD = "import marketpipe; marketpipe.load_ohlcv('AAPL', '2024-11-25', '2024-11-29', root='.')"


class Started(NamedTuple):
    """One kind of process. ``prepare`` is called before each of its runs, and not measured."""

    command: list[str]
    folder: Path
    variables: Mapping[str, str] = {}
    prepare: Callable[[], object] = lambda: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with (
        PageServer(FIRST_DAY, NEXT_DAY) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        started = _processes(Path(folder), server.url)
        for each in started.values():  # compiles modules that are not compiled yet
            _measure(each)
        measured: dict[str, list[Measurement]] = {name: [] for name in started}
        for _ in range(options.runs):
            for name, each in started.items():
                measured[name].append(_measure(each))
    sys.exit(not _print(measured))


def _processes(folder: Path, url: str) -> dict[str, Started]:
    week, alpaca = folder / "week", folder / "alpaca"
    week.mkdir()
    (week / "config.yaml").write_text(CONFIG)
    python, config = [sys.executable], ["--config", "config.yaml"]
    module, script = [*python, "-m", "marketpipe"], Path(sys.executable).with_name("marketpipe")
    other_rules = {"PYTHONPATH": os.pathsep.join([str(_other_library(folder)), os.environ.get("PYTHONPATH", "")])}
    ingest = [*module, "ingest", *config, "--json"]
    next_one = [*ingest, "--start", NEXT_DAY, "--end", NEXT_DAY]
    return {
        BASELINE: Started([*python, "-c", "pass"], folder),
        "import marketpipe": Started([*python, "-c", "import marketpipe"], folder),
        "marketpipe --help": Started([*([str(script)] if script.exists() else module), "--help"], folder),
        "import exchange_calendars": Started([*python, "-c", "import exchange_calendars"], folder),
        "ingest the first symbol-day of a store": Started(ingest, alpaca, KEYS, lambda: _begin_anew(alpaca, url)),
        "ingest the next one": Started(next_one, alpaca, KEYS),
        "ingest with nothing to do": Started(next_one, alpaca, KEYS),
        "the same, with an aggregate": Started(ingest, week),
        "status": Started([*module, "status", *config], week),
        "coverage of a week": Started([*module, "coverage", *config], week),
        "plan of a week": Started([*module, "plan", *config], week),
        "plan of a week, asking exchange_calendars": Started(
            [*module, "plan", *config], week, other_rules, lambda: _forget_sessions(week)
        ),
        "load a week in the library": Started([*python, "-c", LOAD], week),
    }


def _other_library(folder: Path) -> Path:
    """Return a folder with a copy of exchange_calendars whose rules are worded in another way."""
    found = find_spec("exchange_calendars")
    assert found is not None
    assert found.submodule_search_locations is not None
    copied = folder / "library" / "exchange_calendars"
    shutil.copytree(found.submodule_search_locations[0], copied)
    with (copied / RULES[0]).open("a") as rules:
        rules.write("# other rules\n")
    return copied.parent


def _begin_anew(store: Path, url: str) -> None:
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir()
    (store / "config.yaml").write_text(OF_ALPACA.format(url=url))


def _forget_sessions(store: Path) -> None:
    for file in (store / "state").glob("sessions-*.txt"):
        file.unlink()


def _measure(started: Started) -> Measurement:
    started.prepare()
    env = {name: value for name, value in os.environ.items() if name != NO_BYTECODE} | dict(started.variables)
    began, before = time.perf_counter(), _processor()
    subprocess.run(
        started.command, cwd=started.folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return Measurement(time.perf_counter() - began, _processor() - before)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _print(measured: Mapping[str, list[Measurement]]) -> bool:
    middle = {name: statistics.median(run.seconds for run in runs) for name, runs in measured.items()}
    print(f"{'':<42}{'ratio':>9}{'ms':>8}{'fastest':>9}{'slowest':>9}{'processor':>11}")
    for name, runs in measured.items():
        seconds, processor = [run.seconds for run in runs], statistics.median(run.processor for run in runs)
        print(
            f"{name:<42}{middle[name] / middle[BASELINE]:>9.2f}{middle[name] * 1e3:>8.0f}{min(seconds) * 1e3:>9.0f}"
            f"{max(seconds) * 1e3:>9.0f}{processor * 1e3:>11.0f}"
        )
    passed = True
    for name, most in LARGEST_RATIOS.items():
        ratio = middle[name] / middle[BASELINE]
        passed &= ratio < most
        print(f"{'ok  ' if ratio < most else 'FAIL'} {name}: {ratio:.2f} times (under {most:g})")
    for name, longest in LARGEST_SECONDS.items():
        fastest = min(run.seconds for run in measured[name])
        passed &= fastest <= longest
        print(f"{'ok  ' if fastest <= longest else 'FAIL'} {name}: {fastest:.2f} s (at most {longest:g})")
    return passed


if __name__ == "__main__":
    main()
