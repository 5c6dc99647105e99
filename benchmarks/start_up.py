"""python benchmarks/start_up.py: how long it takes until something happens, against ``python -c pass``.

Each way is a process of its own, started with compiled files, interleaved, medians of several runs. The calendar of a
short range is asked for once where its sessions are remembered, and once where exchange_calendars has to be asked.
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

CONFIG = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-11-25\nend: 2024-11-29\ntimeframes: [1d]\n"
GOALS = {"import marketpipe": 3.0, "marketpipe --help": 10.0}
PASS = "python -c pass"
UNUSUAL = "PYTHONDONTWRITEBYTECODE"
"""Where it is set, each process compiles MarketPipe anew."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = Path(folder)
        (store / "config.yaml").write_text(CONFIG)
        ways = _ways()
        for words in ways.values():  # compiles what is not compiled yet
            _seconds(words, store)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.runs):
            for name, words in ways.items():
                if "not remembered" in name:
                    _forget_the_sessions(store)
                seconds[name].append(_seconds(words, store))
    sys.exit(not _print(seconds))


def _ways() -> dict[str, list[str]]:
    module = [sys.executable, "-m", "marketpipe"]
    script = Path(sys.executable).with_name("marketpipe")
    config = ["--config", "config.yaml"]
    return {
        PASS: [sys.executable, "-c", "pass"],
        "import marketpipe": [sys.executable, "-c", "import marketpipe"],
        "marketpipe --help": [*([str(script)] if script.exists() else module), "--help"],
        "python -m marketpipe --help": [*module, "--help"],
        "import typer": [sys.executable, "-c", "import typer"],
        "import exchange_calendars": [sys.executable, "-c", "import exchange_calendars"],
        "ingest, the first or with nothing to do": [*module, "ingest", *config, "--json"],
        "status": [*module, "status", *config],
        "coverage of a week": [*module, "coverage", *config],
        "plan of a week": [*module, "plan", *config],
        "plan of a week, sessions not remembered": [*module, "plan", *config],
    }


def _forget_the_sessions(store: Path) -> None:
    for file in (store / "state").glob("sessions-*.txt"):
        file.unlink()


def _seconds(words: list[str], folder: Path) -> float:
    env = {name: value for name, value in os.environ.items() if name != UNUSUAL}
    started = time.perf_counter()
    subprocess.run(words, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def _print(seconds: dict[str, list[float]]) -> bool:
    middle = {name: statistics.median(found) for name, found in seconds.items()}
    print(f"{'':<42}{'of pass':>9}{'ms':>8}{'fastest':>9}{'slowest':>9}")
    for name, found in seconds.items():
        ratio = middle[name] / middle[PASS]
        print(f"{name:<42}{ratio:>9.2f}{middle[name] * 1e3:>8.0f}{min(found) * 1e3:>9.0f}{max(found) * 1e3:>9.0f}")
    good = True
    for name, most in GOALS.items():
        ratio = middle[name] / middle[PASS]
        good &= ratio < most
        print(f"{'ok  ' if ratio < most else 'FAIL'} {name}: {ratio:.2f} times (under {most:g})")
    return good


if __name__ == "__main__":
    main()
