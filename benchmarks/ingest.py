"""python benchmarks/ingest.py: the whole pipeline against the least possible work, from the same pages.

Interleaved, the median of several runs, each into a fresh folder below --folder. MarketPipe does all it always does:
every rule, quarantine, checkpoints, metrics, durable files. See least_work.py for the other side.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import least_work
from benchmarks.page_server import PageServer
from prometheus_client import CollectorRegistry

from marketpipe import Credentials, Pipeline, PipelineConfig, TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

FIRST = TradingDate.parse("2024-01-02")
LATEST = TradingDate.parse("2025-12-31")
Way = Callable[[Path], int]


def marketpipe(url: str, symbols: list[str], last: str, workers: int, executor: str) -> Way:
    def ingest(folder: Path) -> int:
        config = PipelineConfig(
            provider="alpaca",
            symbols=symbols,
            start=FIRST,
            end=last,
            session="regular",
            workers=workers,
            executor=executor,
            timeframes=[],
            alpaca={"base_url": url, "rate_limit_per_min": 1_000_000},
            output_path=folder / "data",
            aggregates_path=folder / "aggregates",
            quarantine_path=folder / "quarantine",
            revisions_path=folder / "revisions",
            state_path=folder / "state" / "marketpipe.sqlite",
        )
        with Pipeline(config, credentials=Credentials("key", "secret"), registry=CollectorRegistry()) as pipeline:
            report = pipeline.ingest()
        if not report.ok:
            raise SystemExit(f"not everything was ingested: {report}")
        return report.bars

    return ingest


def measured(way: Way, root: Path) -> tuple[int, float, float]:
    """Bars, seconds, and seconds of processor of this process and its children."""
    folder, before, started = Path(mkdtemp(dir=root)), _processor(), time.perf_counter()
    bars = way(folder)
    taken = time.perf_counter() - started, _processor() - before
    shutil.rmtree(folder)
    return bars, *taken


def _processor() -> float:
    """Of this process, of its children that have ended, and of those that live, with theirs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = sum(_ticks(pid) for pid in _children(os.getpid())) / os.sysconf("SC_CLK_TCK")
    return sum(each.ru_utime + each.ru_stime for each in used) + living


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    found = [int(child) for task in tasks.glob("*/children") for child in task.read_text().split()]
    return [each for child in found for each in (child, *_children(child))]


def _ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--bars-a-day", type=int, default=390)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    last = str(ExchangeCalendar(LATEST).sessions(FIRST, LATEST)[options.sessions - 1].trading_date)
    symbols = [f"S{number:04d}" for number in range(options.symbols)]
    with PageServer(str(FIRST), last, options.bars_a_day, options.latency_ms) as server:
        ways: dict[str, Way] = {
            "least work": lambda folder: least_work.ingest(
                server.url, symbols, str(FIRST), last, folder, options.workers
            ),
            **{
                f"MarketPipe, {executor}": marketpipe(server.url, symbols, last, options.workers, executor)
                for executor in ("threads", "processes")
            },
        }
        results: dict[str, list[tuple[int, float, float]]] = {name: [] for name in ways}
        for _ in range(options.runs):
            for name, way in ways.items():
                results[name].append(measured(way, options.folder))
    _print(results)


def _print(results: dict[str, list[tuple[int, float, float]]]) -> None:
    pace = {name: statistics.median(bars / seconds for bars, seconds, _ in runs) for name, runs in results.items()}
    print(f"{'':<24}{'of least work':>14}{'bars/s':>12}{'slowest':>12}{'fastest':>12}{'processor s':>13}")
    for name, runs in results.items():
        paces = sorted(bars / seconds for bars, seconds, _ in runs)
        processor = statistics.median(used for *_, used in runs)
        ratio = pace[name] / pace["least work"]
        print(f"{name:<24}{ratio:>14.2f}{pace[name]:>12,.0f}{paces[0]:>12,.0f}{paces[-1]:>12,.0f}{processor:>13.2f}")


if __name__ == "__main__":
    main()
