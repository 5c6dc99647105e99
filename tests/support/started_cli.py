"""The command line in a fork of a warm process, which goes on while the test does something else."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TextIO

from tests.support.child_processes import LONGEST_SECONDS, ends_with_the_test, wait_until
from tests.support.json_server import JsonServer


class StartedCli:
    """The methods of ``subprocess.Popen``. It leads a session of its own, and is killed at the end of the test."""

    def __init__(self, server: JsonServer, words: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> None:
        self._server, self.args = server, words
        self.returncode: int | None = None
        with TemporaryDirectory() as folder:
            out, errors = (os.path.join(folder, name) for name in ("out", "errors"))
            self.stdout, self.stderr = _read_end(out), _read_end(errors)
            asked = {"words": words, "cwd": str(cwd), "env": env, "out": out, "errors": errors}
            self.pid = int(server.ask(**asked)["pid"])
        ends_with_the_test(self)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask(ended=self.pid)["code"]
        return self.returncode

    def wait(self, timeout: float = LONGEST_SECONDS) -> int:
        wait_until(lambda: self.poll() is not None, timeout)
        assert self.returncode is not None
        return self.returncode

    def wait_until_stopped(self) -> None:
        self._server.ask(stopped=self.pid)

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = LONGEST_SECONDS) -> tuple[str, str]:
        """Wait for its end. Return what it has printed since it was last read,; it has as long as ``wait``."""
        printed = dict.fromkeys((self.stdout, self.stderr), "")
        threads = [Thread(target=_read_to_the_end, args=(stream, printed), daemon=True) for stream in printed]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout)
            assert not thread.is_alive(), f"still runs after {timeout} s: {self.args}"
        self.wait(timeout)
        return printed[self.stdout], printed[self.stderr]

    def close(self) -> None:
        """Wait for its end and close the streams."""
        self.wait()
        for stream in (self.stdout, self.stderr):
            stream.close()


def _read_end(path: str) -> TextIO:
    """Make a pipe with this name. It seems to end until the process has it open too."""
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(end, True)
    return os.fdopen(end, encoding="utf-8")


def _read_to_the_end(stream: TextIO, printed: dict[TextIO, str]) -> None:
    if not stream.closed:
        printed[stream] = stream.read()
