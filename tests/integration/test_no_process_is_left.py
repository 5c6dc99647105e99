"""``executor: processes``: when the process that ingests is killed, everything that it started ends too, and soon."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from marketpipe.testing import Response
from marketpipe.worker_pool import IMPORTED_BEFORE_FORKING
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import Popen, run, start, wait_until
from tests.support.examples import ALL, tries_more
from tests.support.run_environment import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]
SECONDS = 5.0
"""They need less than one on a quiet machine."""
BUSY_IN_ONE_CALL = """
import multiprocessing, time
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["marketpipe.fork_server"])
worker = context.Process(target=pow, args=(3, 10**9))  # one call that never gives up the interpreter's lock
worker.start()
print("started", flush=True)
time.sleep(600)
"""
BUSY_WHEN_A_WORKER_IMPORTS_IT = """
from marketpipe import Pipeline, PipelineConfig
while __name__ != "__main__":
    pass
config = PipelineConfig(provider='synthetic', symbols=['AAPL'], start='2024-03-04', end='2024-03-04',
                        executor='processes', workers=1)
Pipeline(config).ingest()
"""
THREADS_AFTER_IMPORTS = """
import sys, threading
for name in sys.argv[1:]:
    __import__(name)
print(threading.active_count())
"""


def test_everything_ends_if_the_parent_is_killed_while_a_worker_waits_for_the_provider(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hang(_: int, __: Mapping[str, str]) -> Response | None:
        asked.set()
        go_on.wait(60)
        return None

    bars = {"AAPL": [record("2024-03-04T15:00:00Z")]}
    with AlpacaLoopback(bars, fault=hang) as alpaca:
        process = _ingesting(tmp_path, f"provider: alpaca\nsymbols: [AAPL]\nalpaca: {{base_url: '{alpaca.url}'}}\n")
        wait_until(asked.is_set)
        assert len(_session_of(process)) >= 4  # the parent, the fork server, the resource tracker and a worker
        _kill_and_wait(process)
        go_on.set()


def test_everything_ends_if_the_parent_is_killed_while_workers_validate_and_write(tmp_path: Path) -> None:
    process = _synthetic(tmp_path)
    wait_until(lambda: any((tmp_path / "data").rglob("*.parquet")))
    _kill_and_wait(process)


@tries_more
@pytest.mark.parametrize(("processes", "later"), [*([(2, 0.0), (3, 0.3)] if ALL else []), (4, 0.0)])
def test_everything_ends_if_the_parent_is_killed_while_its_workers_start(
    tmp_path: Path, processes: int, later: float
) -> None:
    process = _synthetic(tmp_path)
    wait_until(lambda: len(_session_of(process)) >= processes)
    time.sleep(later)
    _kill_and_wait(process)


def test_a_worker_ends_in_the_middle_of_a_call_that_holds_the_lock(tmp_path: Path) -> None:
    process = start([sys.executable, "-c", BUSY_IN_ONE_CALL], cwd=tmp_path, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    wait_until(lambda: len(_session_of(process)) >= 4)
    _kill_and_wait(process)


def test_a_worker_ends_while_it_still_imports_the_script_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BUSY_WHEN_A_WORKER_IMPORTS_IT)
    process = start([sys.executable, "script.py"], cwd=tmp_path, env=environment())
    wait_until(lambda: len(_session_of(process)) >= 4)
    _kill_and_wait(process)


def test_what_is_imported_before_forking_exists_and_starts_no_thread() -> None:
    assert [name for name in IMPORTED_BEFORE_FORKING if find_spec(name) is None] == []
    done = run([sys.executable, "-c", THREADS_AFTER_IMPORTS, *IMPORTED_BEFORE_FORKING], check=True)
    assert done.stdout == "1\n"


def _synthetic(root: Path) -> Popen[str]:
    symbols = ", ".join(f"S{letter}" for letter in "ABCDEFGHIJKLMNOPQRST")
    return _ingesting(root, f"provider: synthetic\nsymbols: [{symbols}]\n")


def _ingesting(root: Path, provider: str) -> Popen[str]:
    (root / "c.yaml").write_text(
        f"{provider}start: 2024-03-04\nend: 2024-06-28\ntimeframes: []\nworkers: 2\nexecutor: processes\n"
        "state_path: state/s.sqlite\n"
    )
    words = ["-m", "marketpipe", "ingest", "--config", "c.yaml"]
    return start([sys.executable, *words], cwd=root, env=environment())


def _kill_and_wait(process: Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    while left := _session_of(process):
        assert time.monotonic() - killed < SECONDS, f"still running: {left}"
        time.sleep(0.02)


def _session_of(process: Popen[str]) -> dict[int, str]:
    """Return the living processes of its session, each with its command line."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == process.pid and state not in "ZX":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")[:100]
        except OSError:
            continue
    return found
