"""``executor: processes``: the same ring in processes of its own, and the coordinator alone writes checkpoints."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from marketpipe import Credentials, Pipeline, PipelineConfig
from marketpipe.shared_kernel.domain.errors import ConfigurationError, CredentialsError
from marketpipe.shared_kernel.events import AggregatesPrepared, BarsStored, Event, RequestCompleted, SymbolDaysRecorded
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, Fault, record
from tests.support.child_processes import Popen, run, start
from tests.support.cli_process import environment, marketpipe
from tests.support.examples import some
from tests.support.pipeline_ring import contents
from tests.support.scripted_provider import ScriptedProvider

pytestmark = pytest.mark.slow
DAYS = ["2024-03-04", "2024-03-05"]
SYMBOLS = ["AAPL", "BRK.B", "MSFT"]
BARS = {
    symbol: [record(f"{day}T15:{minute:02d}:00Z", 100.0 + n) for day in DAYS for minute in range(30)]
    for n, symbol in enumerate(SYMBOLS)
}
ALLOCATOR_OF_A_WORKER = """
from multiprocessing.sharedctypes import RawValue
import pyarrow
from marketpipe import PipelineConfig
from marketpipe.worker_pool import start
start(PipelineConfig(provider='synthetic', symbols=['AAPL'], start='2024-03-04', end='2024-03-04'), None, RawValue('b'))
print(pyarrow.default_memory_pool().backend_name)
"""
KEYS = Credentials("key-4711-4711", "secret-0815-0815")


def config(root: Path, url: str, **changes: Any) -> PipelineConfig:
    settings: dict[str, Any] = {"base_url": url, "rate_limit_per_min": 100_000}
    folders = {name: root / name.removesuffix("_path") for name in ("aggregates_path", "quarantine_path")}
    folders |= {"output_path": root / "data", "revisions_path": root / "revisions"}
    values: dict[str, Any] = {"provider": "alpaca", "symbols": SYMBOLS, "start": DAYS[0], "end": DAYS[1]}
    values |= {"workers": 2, "timeframes": [], "executor": "processes", "alpaca": settings}
    return PipelineConfig(**{**values, **folders, "state_path": root / "state" / "s.sqlite", **changes})


def opened(settings: PipelineConfig, registry: CollectorRegistry | None = None) -> Pipeline:
    return Pipeline(settings, credentials=KEYS, registry=registry or CollectorRegistry())


def note(names: list[str], event: Event) -> None:
    names.append(type(event).__name__)


def counts(registry: CollectorRegistry) -> dict[str, float]:
    """Every metric that does not measure time."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    return {str(s.name): s.value for s in samples if s.name.endswith("_total") and "seconds" not in s.name}


def provider(fault: Fault | None = None) -> AlpacaLoopback:
    return AlpacaLoopback(BARS, page_size=40, fault=fault)


def workers_of(pid: int) -> list[int]:
    """They are forked from a child of its own that has imported what they need."""
    return [worker for server in _children_of(pid) for worker in _children_of(server)]


def _children_of(pid: int) -> list[int]:
    listed = run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)]).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "forkserver" in line]


def test_processes_and_threads_store_the_same_bytes_and_tell_the_same(tmp_path: Path) -> None:
    observed: dict[str, tuple[Any, ...]] = {}
    with provider() as alpaca:
        for executor in ("threads", "processes"):
            events: list[str] = []
            registry = CollectorRegistry()
            settings = config(tmp_path / executor, alpaca.url, executor=executor, timeframes=["5m", "1d"])
            with opened(settings, registry) as pipeline:
                for kind in (RequestCompleted, BarsStored, SymbolDaysRecorded, AggregatesPrepared):
                    pipeline.subscribe(kind, partial(note, events))
                report, again = pipeline.ingest(), pipeline.ingest()
                counted = counts(registry)
            observed[executor] = report.ok, report.bars, report.requests, again.planned, sorted(events), counted
            assert "AggregatesPrepared" in events

    assert contents(tmp_path / "processes") == contents(tmp_path / "threads")
    assert observed["processes"] == observed["threads"]
    assert observed["processes"][:2] == (True, sum(map(len, BARS.values())))


def test_refused_keys_end_the_job_with_the_error_they_end_it_with_in_threads(tmp_path: Path) -> None:
    refusal = Response(401, b'{"message":"forbidden."}')
    with (
        provider(lambda *_: refusal) as alpaca,
        opened(config(tmp_path, alpaca.url)) as pipeline,
        pytest.raises(CredentialsError),
    ):
        pipeline.ingest()


def test_a_provider_that_was_handed_in_cannot_be_sent_to_processes(tmp_path: Path) -> None:
    settings = config(tmp_path, "http://127.0.0.1:9")
    with (
        Pipeline(settings, market_data_provider=ScriptedProvider()) as pipeline,
        pytest.raises(ConfigurationError, match="use threads"),
    ):
        pipeline.ingest()

    assert list(tmp_path.iterdir()) == []


def test_without_keys_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "provider: alpaca\nsymbols: [AAPL]\nstart: 2024-03-04\nend: 2024-03-05\nexecutor: processes\n"
    )
    env = dict.fromkeys(("ALPACA_KEY", "ALPACA_SECRET"), "")

    ended = marketpipe("ingest", "--config", "c.yaml", cwd=tmp_path, env=env)

    assert ended.returncode == 2
    assert "no credentials for Alpaca" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_a_worker_that_is_killed_fails_its_request_alone_and_is_replaced(tmp_path: Path) -> None:
    def kill_a_worker(number: int, _: object) -> Response | None:
        if number == 0:
            os.kill(workers_of(os.getpid())[0], signal.SIGKILL)
        return None

    with provider(kill_a_worker) as alpaca, opened(config(tmp_path, alpaca.url, workers=1)) as pipeline:
        first = pipeline.ingest()
        second = pipeline.ingest()

    assert not first.ok
    assert any("a worker process was killed" in str(found.error) for found in first.outcomes.values())
    assert second.ok


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hang(_: int, __: object) -> Response | None:
        asked.set()
        go_on.wait(60)
        return None

    with provider(hang) as alpaca:
        process = _start(tmp_path, alpaca.url)
        assert asked.wait(60)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        gone = _within(30, lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        go_on.set()
        with opened(config(tmp_path, alpaca.url)) as pipeline:
            resumed = pipeline.ingest()

    assert workers
    assert gone
    assert resumed.ok


@pytest.mark.parametrize(("sent", "code"), some([(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]))
def test_a_stop_signal_finishes_the_current_day_and_records_what_was_stored(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    days = [f"2024-03-{day:02d}" for day in (4, 5, 6, 7, 8)]
    bars = {"AAPL": [record(f"{day}T15:{minute:02d}:00Z", 100.0) for day in days for minute in range(30)]}

    def slowly(_: int, __: object) -> Response | None:
        time.sleep(0.3)
        return None

    with AlpacaLoopback(bars, page_size=15, fault=slowly) as alpaca:
        process = _start(tmp_path, alpaca.url, "--symbols", "AAPL", "--end", days[-1])
        assert _within(60, lambda: any((tmp_path / "data").rglob("*.parquet")))
        os.killpg(process.pid, sent) if sent is not signal.SIGTERM else process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
        asked = len(alpaca.requests)
        files = len(list((tmp_path / "data").rglob("*.parquet")))
        with opened(config(tmp_path, alpaca.url, symbols=["AAPL"], end=days[-1])) as pipeline:
            plan = pipeline.plan()

    assert process.returncode == code, errors
    if sent is not signal.SIGHUP:  # which ends the resource tracker of multiprocessing, and the next one complains
        assert "Traceback" not in errors
    assert asked < 2 * len(days) - 2
    assert plan.already_settled == files


def test_a_script_that_every_worker_would_run_again_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from marketpipe import Pipeline, PipelineConfig\n"
        "config = PipelineConfig(provider='synthetic', symbols=['AAPL'], start='2024-03-04', end='2024-03-04',\n"
        "                        executor='processes', workers=1)\n"
        "print(Pipeline(config).ingest().failures)\n"
    )

    done = run([sys.executable, str(script)], cwd=tmp_path)

    assert "Put what the script does under 'if __name__ == \"__main__\":'" in done.stderr
    assert "a worker process was killed" in done.stdout


def _start(root: Path, url: str, *words: str) -> Popen[str]:
    (root / "c.yaml").write_text(
        f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: {DAYS[0]}\nend: {DAYS[1]}\ntimeframes: []\n"
        f"workers: 1\nstate_path: state/s.sqlite\nalpaca: {{base_url: '{url}', rate_limit_per_min: 100000}}\n"
    )
    command = [sys.executable, "-m", "marketpipe", "ingest", "--config", "c.yaml", "--executor", "processes", *words]
    return start(command, cwd=root, env=environment())


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("asked", "expected"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc")]
)
def test_a_worker_has_the_allocator_that_keeps_little_unless_another_is_asked_for(
    asked: dict[str, str], expected: str
) -> None:
    found = run([sys.executable, "-c", ALLOCATOR_OF_A_WORKER], env=environment(asked))

    assert found.stdout.strip() == expected, found.stderr
