"""A forked child owns nothing of its parent: not its locks, its state, its provider, nor what runs at exit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.child_processes import run

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from marketpipe import Pipeline, StateError
from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock, HolderLock
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from tests.support.pipeline_ring import config, minutes
from marketpipe.testing import FakeClock
from tests.support.scripted_provider import ScriptedProvider

folder, found = Path(sys.argv[1]), {}
state = folder / "state" / "marketpipe.sqlite"
update_lock = folder / "state" / "update-lock"

class Provider(ScriptedProvider):
    def close(self):
        with open(folder / "closed-by", "a") as file:
            print(os.getpid(), file=file)

def is_locked():
    try:
        with ExclusiveFileLock(update_lock, waits=False).acquired():
            return False
    except StoreBusyError:
        return True

def holder_is_alive():
    return HolderLock(state).others()

def child(work):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        found["code"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return said
    os.close(reading)
    try:
        os.write(writing, work().encode())
    finally:
        os.close(writing)
    sys.exit(7)  # leaves every with block below, in the child

def use():
    try:
        pipeline.ingest()
    except StateError as error:
        return str(error)
    return "no error"

main = os.getpid()
try:
    settings = config(folder, ["AAPL"], "2024-01-02", "2024-01-03")
    with Pipeline(settings, registry=CollectorRegistry(), market_data_provider=Provider({"AAPL": {"2024-01-02":
            minutes("2024-01-02")}}), clock=FakeClock("2024-01-10T12:00:00Z")) as pipeline:
        with ExclusiveFileLock(update_lock, waits=False).acquired():
            found["first"] = pipeline.ingest().state
            found["said"] = child(use)
            found["alive"], found["locked"] = holder_is_alive(), is_locked()
            found["again"] = pipeline.ingest(start="2024-01-03").state
        found["unlocked"] = not is_locked()
        reading, writing = os.pipe()
        if not os.fork():  # outlives its parent, without its locks
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        found["released"] = None
finally:
    if os.getpid() == main:
        found["released"] = not holder_is_alive()
        found["closed"] = (folder / "closed-by").read_text().split() == [str(main)]
        print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("forked")
    done = run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(folder)], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_child_that_leaves_the_pipeline_ends_nothing_of_its_parent(found: Any) -> None:
    assert (found["first"], found["code"], found["again"]) == ("completed", 7, "completed")
    assert (found["alive"], found["locked"], found["unlocked"]) == (True, True, True)


def test_a_child_is_told_to_make_a_pipeline_of_its_own(found: Any) -> None:
    assert "from which this one was forked" in found["said"]
    assert "Make a new Pipeline in each process" in found["said"]


def test_the_provider_is_closed_once_and_by_the_process_that_made_it(found: Any) -> None:
    assert found["closed"]


def test_a_child_that_outlives_its_parent_has_none_of_its_locks(found: Any) -> None:
    assert found["released"]
