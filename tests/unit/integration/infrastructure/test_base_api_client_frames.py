"""How many frames of our own are between the handler of ``BarsRequested`` and the HTTP library."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

import httpx

import marketpipe
from marketpipe.integration.application.bars_fetcher import BarsFetcher
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsRequested
from marketpipe.testing import bars_request
from tests.support.alpaca_loopback import record
from tests.support.clients import AlpacaSetting, exchange
from tests.support.scripted_transport import Answer

PACKAGE = marketpipe.__path__[0]
NEXT_TOKEN = {None: "b", "b": "c", "c": None}


class CountingThread(ThreadPoolExecutor):
    """An executor of one thread whose tasks remember the frames of those who submitted them."""

    submitted_by = threading.local()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        frames = own_frames(sys._getframe(1))

        def run() -> Any:
            self.submitted_by.frames = frames
            return fn(*args, **kwargs)

        return super().submit(run)


def own_frames(frame: FrameType | None) -> list[str]:
    """Return the names of our functions from the outermost on, those that submitted the task of this thread first."""
    names = list[str]()
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return [*getattr(CountingThread.submitted_by, "frames", []), *reversed(names)]


def test_four_frames_lie_between_the_event_and_the_http_library() -> None:
    paths = list[list[str]]()

    def answer(asked: httpx.Request) -> httpx.Response:
        paths.append(own_frames(sys._getframe(1)))
        token = asked.url.params.get("page_token")
        bars = {"AAPL": [record(f"2024-03-11T13:3{len(paths)}:00Z")]}
        return Answer(body={"bars": bars, "next_page_token": NEXT_TOKEN[token]}).response()

    bus = EventBus(LoggedIsolation)
    client = AlpacaSetting(
        exchange("http://alpaca.test", httpx.MockTransport(answer)), new_executor=CountingThread
    ).client
    fetcher = BarsFetcher(client, WholeDayAssembler, bus, partial(CountingThread, 1))
    fetcher.on_bars_requested(BarsRequested(bars_request(("AAPL",), "2024-03-11", "2024-03-11")))

    assert paths == [["on_bars_requested", "fetch_batch", "_send", "get"]] * 3
