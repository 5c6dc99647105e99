"""Compare what batches run on, and kill workers and the scheduler of a Dask cluster.

    python benchmarks/engines.py [PART…] [--runs 5] [--symbols 16] [--sessions 128] [--kills 20] [--folder DIR]

processors: dask against processes, two workers, a provider without latency; without the start of the processes.
latency: dask with 1, 2 and 4 workers, a provider of 400 ms and pages of 500 bars, so that the processors have time.
workers: one of two is killed --kills times: everything is stored, and at most one batch is asked again for each.
scheduler: it is killed; how long it takes until the run is interrupted, and what the next run asks for again.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attrs import evolve
from benchmarks.comparison import parse_options
from benchmarks.page_server import PageServer
from benchmarks.pipelines import FIRST, last_date, numbered_symbols, pipeline_config
from distributed import Client
from prometheus_client import CollectorRegistry

from marketpipe import Credentials, Pipeline, PipelineConfig
from marketpipe.shared_kernel.domain.errors import EngineFailedError
from marketpipe.shared_kernel.events import AttemptLost, SymbolDaysRecorded

BARS_A_DAY, PAGE, LATENCY_MS = 390, 500, 400
FEW_BARS_A_DAY, SMALL_PAGE = 20, 400
"""Of a symbol of which nothing is known, 128 sessions are one batch; these make it small."""
KEYS = {"ALPACA_KEY": "key", "ALPACA_SECRET": "secret"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help="of the four above; all if none is named")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--symbols", type=int, default=16)
    parser.add_argument("--sessions", type=int, default=128)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=None)
    options = parse_options(parser)
    os.environ.update(KEYS)
    with TemporaryDirectory(dir=options.folder) as root:
        for name in options.parts or PARTS:
            PARTS[name](Path(root), options)


def compare_with_processes(root: Path, options: argparse.Namespace) -> None:
    last, symbols = last_date(options.sessions), numbered_symbols(options.symbols)
    rates = dict[str, list[float]](processes=[], dask=[])
    with PageServer(str(FIRST), last, BARS_A_DAY) as server:
        for number in range(options.runs + 1):  # the first round only renders the pages
            for executor, some in sorted(rates.items(), reverse=number % 2 == 1):
                settings = config(root, server.url, symbols, last, workers=2, executor=executor)
                some.append(rate_once_started(settings))
                print(f"  {executor:<10}{some[-1]:>10,.0f} bars/s", flush=True)
    ratios = [one / other for one, other in zip(rates["dask"][1:], rates["processes"][1:], strict=True)]
    print(f"{statistics.median(ratios):.2f}  dask relative to processes, two workers, no latency (at least 0.9)")


def scale_with_workers(root: Path, options: argparse.Namespace) -> None:
    """Each worker has two batches of some 50 pages to fetch."""
    last = last_date(options.sessions // 2)
    rates = dict[int, list[float]]({1: [], 2: [], 4: []})
    with PageServer(str(FIRST), last, BARS_A_DAY, latency_ms=LATENCY_MS, page_limit=PAGE) as server:
        for _ in range(options.runs):
            for workers, some in rates.items():
                symbols = numbered_symbols(2 * workers + 1)
                some.append(rate_once_started(config(root, server.url, symbols, last, workers=workers)))
                print(f"  {workers} workers {some[-1]:>10,.0f} bars/s", flush=True)
    for workers in (2, 4):
        ratio = statistics.median(many / one for many, one in zip(rates[workers], rates[1], strict=True))
        print(f"{ratio:.2f}  {workers} workers relative to one, {LATENCY_MS} ms (at least {0.85 * workers:.2f})")


def kill_workers(root: Path, options: argparse.Namespace) -> None:
    """A worker is killed whenever two more batches have ended: so none of them is hit again and again."""
    last, lost, killed = last_date(options.sessions), list[AttemptLost](), list[int]()
    symbols = numbered_symbols(min(64, options.kills * 3 + 4))
    with ExitStack() as stack:
        server = stack.enter_context(
            PageServer(str(FIRST), last, FEW_BARS_A_DAY, latency_ms=100, page_limit=SMALL_PAGE)
        )
        cluster = stack.enter_context(Cluster(2))
        settings = config(root, server.url, symbols, last, workers=len(symbols), scheduler=cluster.address)
        with opened(settings) as pipeline:
            pipeline.subscribe(AttemptLost, lost.append)
            pipeline.subscribe(SymbolDaysRecorded, lambda _: ended.release())
            ended, over = threading.Semaphore(0), threading.Event()

            def kill() -> None:
                while len(killed) < options.kills and not over.is_set():
                    for _ in range(2):
                        ended.acquire(timeout=120)
                    killed.append(cluster.kill_worker(len(killed)))

            killer = threading.Thread(target=kill)
            killer.start()
            report = pipeline.ingest()
            over.set()
            killer.join()
    print(
        f"{len(killed)} kills: {report.state}, {len(report.failures)} symbol-days failed, {report.bars:,} bars; "
        f"batches begun again: {len(lost)} (at most {len(killed)}); requests {report.requests}"
    )


def kill_the_scheduler(root: Path, options: argparse.Namespace) -> None:
    """Two batches are in flight then, each of seven pages."""
    last, symbols = last_date(options.sessions), numbered_symbols(12)
    with (
        PageServer(str(FIRST), last, BARS_A_DAY, latency_ms=LATENCY_MS, page_limit=PAGE) as server,
        Cluster(2) as cluster,
    ):
        settings = config(root, server.url, symbols, last, workers=len(symbols), scheduler=cluster.address)
        with opened(settings) as pipeline:
            died = list[float]()

            def die(_: object) -> None:
                if not died:
                    cluster.kill_scheduler()
                    died.append(time.monotonic())

            pipeline.subscribe(SymbolDaysRecorded, die)
            try:
                pipeline.ingest()
            except EngineFailedError as error:
                print(f"{time.monotonic() - died[0]:.1f} s until the run was interrupted (at most 35): {error}")
        with opened(evolve(settings, executor="threads", scheduler=None)) as pipeline:
            report = pipeline.ingest()
    print(f"the next run: {report.state}, {report.already_settled} symbol-days were stored, {report.planned} requested")


def rate_once_started(settings: PipelineConfig) -> float:
    """Return bars a second. One symbol is ingested before, for which the workers are started."""
    with opened(settings) as pipeline:
        pipeline.ingest([settings.symbols[0]])
        started = time.perf_counter()
        report = pipeline.ingest()
        if not report.ok:
            raise SystemExit(f"not everything was ingested: {report}")
        return report.bars / (time.perf_counter() - started)


def config(root: Path, url: str, symbols: Sequence[str], last: str, **changes: Any) -> PipelineConfig:
    return pipeline_config(Path(mkdtemp(dir=root)), url, symbols, last, **{"executor": "dask", **changes})


def opened(settings: PipelineConfig) -> Pipeline:
    return Pipeline(settings, credentials=Credentials(*KEYS.values()), registry=CollectorRegistry())


PARTS = {
    "processors": compare_with_processes,
    "latency": scale_with_workers,
    "workers": kill_workers,
    "scheduler": kill_the_scheduler,
}


class Cluster:
    """A context manager: a scheduler and workers in processes of their own, each worker with one thread."""

    def __init__(self, workers: int) -> None:
        self._workers, self._processes = workers, list[subprocess.Popen[bytes]]()

    def __enter__(self) -> Cluster:
        self._folder = TemporaryDirectory()
        file = Path(self._folder.name) / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        for _ in range(self._workers):
            self._start("worker", "--scheduler-file", str(file), "--nthreads", "1")
        with Client(scheduler_file=str(file), set_as_default=False, timeout=120) as client:
            client.wait_for_workers(self._workers, timeout=120)
            self.address = str(client.scheduler.address)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._folder.cleanup()

    def kill_scheduler(self) -> None:
        os.killpg(self._processes[0].pid, signal.SIGKILL)

    def kill_worker(self, number: int) -> int:
        """Kill the one or the other, as soon as it is there; its nanny starts another."""
        nanny = str(self._processes[1 + number % self._workers].pid)
        while True:
            listed = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", nanny], capture_output=True, text=True)
            if found := [int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line]:
                with suppress(ProcessLookupError):
                    os.kill(found[0], signal.SIGKILL)
                    return found[0]
            time.sleep(0.05)

    def _start(self, kind: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *words]
        command += ["--dashboard-address", "127.0.0.1:0"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self._folder.name}
        self._processes.append(subprocess.Popen(command, start_new_session=True, **quiet))  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
