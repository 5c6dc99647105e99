from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from tests.support.child_processes import ended_with_the_test, guarded
from tests.support.examples import ALL, ON_THE_DISK, is_new
from tests.support.json_server import close_shared

settings.register_profile(
    "marketpipe",
    deadline=None,
    max_examples=60 if ALL else 5,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.load_profile("marketpipe")

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 2**30
SHARED = Path(__file__).parents[2] / "shared"

# In the background of a script, and with nohup, these are ignored. The processes that tests stop would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure() -> None:
    """Keep the files of tests in memory if it has room: a run syncs thousands. All examples are tried on the disk."""
    if not ALL and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES and os.access(MEMORY, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep modules and tests, which stay to the end, out of every later search for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``make test`` tries alike, in ``make test-thoroughly``."""
    if ALL and ON_THE_DISK:
        config.hook.pytest_deselected(items=[item for item in items if not is_new(item)])
        items[:] = [item for item in items if is_new(item)]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with real bars and the replay server; where it is absent the test skips."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: no real bars, no replay server")
    return SHARED


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """Another user may read this folder. That of ``tmp_path`` is forbidden to others by each pytest that begins."""
    with TemporaryDirectory(prefix="marketpipe-readable-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Let each SIGINT to this process raise KeyboardInterrupt in the test, as the command line sees to it.

    Importing polars, as other tests do, puts a handler of its own below Python's. And Python drops what is raised
    while a finalizer runs: the collector would run those of objects that earlier tests have left.
    """
    gc.collect()
    gc.disable()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Fail the run if a process outlives it, and kill what a run leaves that is itself killed."""
    with guarded():
        yield
        close_shared()


@pytest.fixture(autouse=True)
def processes_end_with_their_test() -> Iterator[None]:
    with ended_with_the_test():
        yield
