"""python benchmarks/start_up.py: measure the start-up time of commands, relative to ``python -c pass``.

Each command is a process of its own, started with compiled files; runs are interleaved, results are medians. The plan
of a week is measured twice: with the sessions in the calendar cache, and without it, so that exchange_calendars has to
compute them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options

CONFIG = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-11-25\nend: 2024-11-29\ntimeframes: [1d]\n"
LARGEST_RATIOS = {"import marketpipe": 3.0, "marketpipe --help": 10.0}
BASELINE = "python -c pass"
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Removed from the environment: with it every process would compile MarketPipe again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = Path(folder)
        (store / "config.yaml").write_text(CONFIG)
        commands = _commands()
        for command in commands.values():  # compiles modules that are not compiled yet
            _seconds(command, store)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                if "without calendar cache" in name:
                    _delete_calendar_cache(store)
                seconds[name].append(_seconds(command, store))
    sys.exit(not _print(seconds))


def _commands() -> dict[str, list[str]]:
    module = [sys.executable, "-m", "marketpipe"]
    script = Path(sys.executable).with_name("marketpipe")
    config = ["--config", "config.yaml"]
    return {
        BASELINE: [sys.executable, "-c", "pass"],
        "import marketpipe": [sys.executable, "-c", "import marketpipe"],
        "marketpipe --help": [*([str(script)] if script.exists() else module), "--help"],
        "python -m marketpipe --help": [*module, "--help"],
        "import typer": [sys.executable, "-c", "import typer"],
        "import exchange_calendars": [sys.executable, "-c", "import exchange_calendars"],
        "ingest, with nothing to do after the first": [*module, "ingest", *config, "--json"],
        "status": [*module, "status", *config],
        "coverage of a week": [*module, "coverage", *config],
        "plan of a week": [*module, "plan", *config],
        "plan of a week, without calendar cache": [*module, "plan", *config],
    }


def _delete_calendar_cache(store: Path) -> None:
    for file in (store / "state").glob("sessions-*.txt"):
        file.unlink()


def _seconds(command: list[str], folder: Path) -> float:
    env = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def _print(seconds: dict[str, list[float]]) -> bool:
    middle = {name: statistics.median(found) for name, found in seconds.items()}
    print(f"{'':<42}{'ratio':>9}{'ms':>8}{'fastest':>9}{'slowest':>9}")
    for name, found in seconds.items():
        ratio = middle[name] / middle[BASELINE]
        print(f"{name:<42}{ratio:>9.2f}{middle[name] * 1e3:>8.0f}{min(found) * 1e3:>9.0f}{max(found) * 1e3:>9.0f}")
    passed = True
    for name, most in LARGEST_RATIOS.items():
        ratio = middle[name] / middle[BASELINE]
        passed &= ratio < most
        print(f"{'ok  ' if ratio < most else 'FAIL'} {name}: {ratio:.2f} times (under {most:g})")
    return passed


if __name__ == "__main__":
    main()
