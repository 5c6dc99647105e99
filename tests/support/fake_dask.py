"""A cluster for ``DaskPool`` in memory: a test says what becomes of each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from attrs import define, field

from marketpipe.shared_kernel.domain.errors import ConfigurationError


class Killed(Exception):
    """Stands for Dask's KilledWorker."""


@define(eq=False)
class FakeCluster:
    """``answer`` gets the key of a task, its arguments and its future."""

    answer: Callable[[str, tuple[Any, ...], Future[Any]], None]
    address: str = "tls://fake:8786"
    is_local: bool = False
    refusal: str = ""
    lost: bool = False
    workers: bool = True
    plugins: dict[str, Any] = field(factory=dict)
    tell: Callable[[Mapping[str, Any]], None] = field(default=lambda _: None)
    closed: int = 0

    def set_up(self, name: str, plugin: Any) -> None:
        if self.refusal:
            raise ConfigurationError(self.refusal)
        self.plugins[name] = plugin

    def take_down(self, name: str) -> None:
        del self.plugins[name]

    def listen(self, topic: str, on_message: Callable[[Mapping[str, Any]], None]) -> None:
        self.tell = on_message

    def silence(self, topic: str) -> None:
        self.tell = lambda _: None

    def submit(self, key: str, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future = Future[Any]()
        self.answer(key, arguments, future)
        return future

    def is_lost(self) -> bool:
        return self.lost

    def has_workers(self) -> bool:
        return self.workers

    def killed(self, error: BaseException | None) -> bool:
        return isinstance(error, Killed)

    def close(self) -> None:
        self.closed += 1
