"""How many of our own frames lie between ``Pipeline.ingest`` and the HTTP client, and the write of a day file.

Measured on a real run. A hop through an executor counts: the frames that submit and those of the worker together.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

import marketpipe
from marketpipe.config import Credentials
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.pipeline_ring import config

MOST_FRAMES_TO_HTTPX = 12
MOST_FRAMES_TO_THE_WRITE = 16
PACKAGE = str(Path(marketpipe.__file__).parent)
BARS = {symbol: [record(f"2024-03-04T15:{n:02d}:00Z", 100.0 + n) for n in range(30)] for symbol in ("AAPL", "MSFT")}
Stack = tuple[str, ...]


class OwnFrames:
    """Records the frames of this package that a thread works for: the deepest stack of each kind of call."""

    def __init__(self) -> None:
        self._local = threading.local()
        self.deepest: dict[str, Stack] = {}

    def stack(self) -> Stack:
        return (*getattr(self._local, "submitted_by", ()), *reversed(list(_own(sys._getframe(1)))))

    def note(self, call: str) -> None:
        self.deepest[call] = max(self.deepest.get(call, ()), self.stack(), key=len)

    def on_behalf_of(self, submitted_by: Stack, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before, self._local.submitted_by = getattr(self._local, "submitted_by", ()), submitted_by
        try:
            return function(*args, **kwargs)
        finally:
            self._local.submitted_by = before


def _own(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            yield f"{Path(code.co_filename).relative_to(PACKAGE)}: {code.co_qualname}"
        frame = frame.f_back


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> OwnFrames:
    watched, submit, send, write = OwnFrames(), ThreadPoolExecutor.submit, httpx.Client.send, os.write

    def submitted(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return submit(pool, watched.on_behalf_of, watched.stack(), function, *args, **kwargs)

    def sent(client: httpx.Client, *args: Any, **kwargs: Any) -> httpx.Response:
        watched.note("httpx")
        return send(client, *args, **kwargs)

    def written(descriptor: int, data: Any) -> int:
        if ".parquet" in os.readlink(f"/proc/self/fd/{descriptor}"):
            watched.note("write")
        return write(descriptor, data)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submitted)
    monkeypatch.setattr(httpx.Client, "send", sent)
    monkeypatch.setattr(RealDisk, "write", staticmethod(written))
    return watched


@pytest.mark.skipif(sys.platform != "linux", reason="names of open files are read from /proc")
def test_few_frames_are_between_ingest_and_the_client_and_the_file(tmp_path: Path, frames: OwnFrames) -> None:
    with AlpacaLoopback(BARS, page_size=20) as alpaca:
        settings = config(
            tmp_path, list(BARS), "2024-03-04", "2024-03-04", provider="alpaca", alpaca={"base_url": alpaca.url}
        )
        keys = Credentials("key-4711-4711", "secret-0815-0815")
        with Pipeline(settings, credentials=keys, registry=CollectorRegistry()) as pipeline:
            assert pipeline.ingest().ok

    for call, most in (("httpx", MOST_FRAMES_TO_HTTPX), ("write", MOST_FRAMES_TO_THE_WRITE)):
        found = frames.deepest[call]
        assert found[0].startswith("pipeline.py: Pipeline.ingest")
        assert len(found) <= most, f"{len(found)} frames to {call}:\n" + "\n".join(found)
