"""No process that a test starts outlives the test, or the run, even if the run is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.child_processes import ended_with_the_test, run, start, wait_until

ROOT = Path(__file__).parents[2]
SLEEP = "import time; print('asleep', flush=True); time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
RUN_OF_TESTS = f"""
import sys, time
from tests.support.child_processes import guarded, start
with guarded():
    child = start([sys.executable, "-c", {PARENT!r}])
    print(child.stdout.readline(), child.pid, flush=True)
    {{then}}
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie, which only waits to be reaped, does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


def members_of_session(leader: int) -> list[int]:
    found = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if is_alive(pid) and _session_of(pid) == leader]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def test_a_run_that_is_killed_takes_children_and_grandchildren_with_it() -> None:
    with start([sys.executable, "-c", RUN_OF_TESTS.format(then="time.sleep(600)")], cwd=ROOT) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == "asleep\n"
        child = int(tests.stdout.readline())
        assert len(members_of_session(child)) == 2
        os.kill(tests.pid, signal.SIGKILL)

    wait_until(lambda: not members_of_session(child))


def test_a_run_that_leaves_a_process_fails_and_names_it() -> None:
    body = RUN_OF_TESTS.replace("guarded, start", "guarded, start\nimport tests.support.child_processes as processes")
    done = run([sys.executable, "-c", body.format(then="processes.ENDING_SECONDS = 0")], cwd=ROOT)

    assert done.returncode == 1
    assert "processes that the tests left running:" in done.stderr
    assert SLEEP in done.stderr
    assert members_of_session(int(done.stdout.split()[-1])) == []


def test_what_a_test_leaves_running_ends_with_it() -> None:
    with ended_with_the_test():
        child = start([sys.executable, "-c", PARENT])
        assert child.stdout is not None
        assert child.stdout.readline() == "asleep\n"
        assert len(members_of_session(child.pid)) == 2

    wait_until(lambda: not members_of_session(child.pid))
    assert child.returncode == -signal.SIGKILL
