"""The only way in which tests start processes: no process outlives the test that started it, or the test run.

Every process that runs tests marks its environment, and all its descendants inherit the mark, orphans as well. A guard
process kills every process with the mark as soon as the process that runs the tests has ended, in whatever way.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, TimeoutExpired
from typing import Any, Final, Protocol

__all__ = [
    "LITTER",
    "PIPE",
    "CompletedProcess",
    "Popen",
    "TimeoutExpired",
    "ended_with_the_test",
    "ends_with_the_test",
    "guarded",
    "run",
    "run_folder",
    "start",
    "wait_until",
]

RUN_MARK: Final = "MARKETPIPE_TEST_RUN"
FOLDER_PREFIX: Final = "marketpipe-run-"
LITTER: Final = "litter"
LONGEST_SECONDS: Final = 300
"""Ends only what hangs: a busy machine can be fifty times slower than a quiet one."""
ENDING_SECONDS: Final = 20
"""How long descendants may take to notice that their parent has ended, on a busy machine."""
PROCESSES: Final = Path("/proc")
OF_PYTHON: Final = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
"""Helper processes that ``multiprocessing`` keeps until the interpreter that started them ends."""


class Started(Protocol):
    """A process that leads a session of its own."""

    pid: int

    def poll(self) -> int | None: ...

    def close(self) -> None:
        """Close its streams and wait for its end."""


class _OfPopen:
    def __init__(self, process: Popen[Any]) -> None:
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def close(self) -> None:
        self._process.__exit__(None, None, None)


_started: list[Started] = []


def start(command: Sequence[str], *, outlives_test: bool = False, **options: Any) -> Popen[Any]:
    """Start a process with pipes for its output, in a session of its own; it is killed at the end of the test.

    ``options`` are those of ``subprocess.Popen``. Its streams are text, unless ``text=False``. A fixture of a wider
    scope starts one that ``outlives_test`` and ends it itself.
    """
    settings = {"stdout": PIPE, "stderr": PIPE, "text": True, "start_new_session": True, **options}
    process: Popen[Any] = subprocess.Popen(command, **settings)
    if not outlives_test:
        ends_with_the_test(_OfPopen(process))
    return process


def ends_with_the_test(process: Started) -> None:
    """Kill it, and close it, at the end of the test that runs."""
    _started.append(process)


def run(command: Sequence[str], *, check: bool = False, seconds: float = LONGEST_SECONDS, **options: Any) -> Any:
    """Run a process to its end and return a ``CompletedProcess``."""
    with start(command, outlives_test=True, **options) as process:
        try:
            out, errors = process.communicate(timeout=seconds)
        except BaseException:
            _kill_session(process)
            raise
    if check and process.returncode:
        raise AssertionError(f"{command} ended with {process.returncode}: {errors}")
    return CompletedProcess(command, process.returncode, out, errors)


def wait_until(is_so: Callable[[], object], seconds: float = LONGEST_SECONDS) -> None:
    """Poll ``is_so`` until it is true; the bound only ends a test that hangs."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {is_so}"
        time.sleep(0.02)


@contextmanager
def ended_with_the_test() -> Iterator[None]:
    """Kill what was started inside and still runs, with everything in its session."""
    before = len(_started)
    try:
        yield
    finally:
        for process in _started[before:]:
            if process.poll() is None:
                _kill_session(process)
            process.close()
        del _started[before:]


def _kill_session(process: Started | Popen[Any]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def run_folder(mode: int = 0o700) -> Iterator[Path]:
    """A folder for the files of a server, which may belong to another user. The guard too removes it.

    Files elsewhere that a server leaves are removed with it if a file ``LITTER`` of the folder names them.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.environ[RUN_MARK]}-"))
    try:
        folder.chmod(mode)
        yield folder
    finally:
        _remove_folder(folder)


@contextmanager
def guarded() -> Iterator[None]:
    """Mark all processes that are started inside. Raises ``AssertionError`` if one of them is left at the end."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    guard = subprocess.Popen([sys.executable, "-S", __file__, mark], stdin=PIPE, start_new_session=True)
    os.environ[RUN_MARK] = mark
    try:
        yield
        left = _left_running(mark)
    finally:
        del os.environ[RUN_MARK]
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()
    assert not left, "processes that the tests left running:\n" + "\n".join(left)


def _left_running(mark: str) -> list[str]:
    deadline = time.monotonic() + ENDING_SECONDS
    while (left := [line for line in map(_command_of, _marked(mark)) if line]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _marked(mark: str) -> Iterator[int]:
    """Return the ids of all other processes with the mark; none if the system has no /proc."""
    wanted = f"{RUN_MARK}={mark}".encode()
    for folder in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                yield int(folder.name)


def _command_of(pid: int) -> str | None:
    """Return the command; None if the process has ended, or if this interpreter keeps it until its own end."""
    try:
        words = (PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
        parent = (PROCESSES / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1]
    except OSError:
        return None
    if int(parent) == os.getpid() and any(name in word for word in words for name in OF_PYTHON):
        return None
    return f"{pid}: " + b" ".join(words).decode(errors="replace")[:200]


def _quit_databases(mark: str) -> None:
    """Let PostgreSQL servers end as in a crash, but give back the memory that they share, which outlives them."""
    deadline = time.monotonic() + 5
    while (left := [pid for pid in _marked(mark) if _is_postgres(pid)]) and time.monotonic() < deadline:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGQUIT)
        time.sleep(0.05)


def _is_postgres(pid: int) -> bool:
    with suppress(OSError):
        return (PROCESSES / str(pid) / "comm").read_text() == "postgres\n"
    return False


def _kill_marked(mark: str) -> None:
    while left := list(_marked(mark)):
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _remove_folders(mark: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}{mark}-*"):
        _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        for name in (folder / LITTER).read_text().splitlines():
            Path(name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.read()
    _quit_databases(sys.argv[1])
    _kill_marked(sys.argv[1])
    _remove_folders(sys.argv[1])
