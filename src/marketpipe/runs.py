"""``Runs``: the ingestions, updates and audits of one pipeline, and how ``stop`` and ``close`` end them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Final, TypeVar

from attrs import define

from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.errors import PipelineClosedError

T = TypeVar("T")


@define(eq=False)
class _Run:
    """One call, from its first moment until it returns; ``thread`` is the one that carries it out, 0 before."""

    thread: int = 0
    stopped: bool = False


_ANNOUNCED: Final = ContextVar[_Run | None]("_ANNOUNCED", default=None)
"""The run that the present call was registered as before it got its thread."""


class Runs:
    """Gives each run its turn. ``stop`` reaches every run from the moment it is called, also while it waits or plans.

    A signal handler may call ``stop`` and ``close`` on the thread of a run, between any two instructions: the lock is
    reentrant, and no method leaves anything half done that these two read.
    """

    def __init__(self, parts: Parts, name: str) -> None:
        """``name`` is what errors call the owner of the parts, which ``close`` closes."""
        self._parts, self._name, self._process = parts, name, os.getpid()
        self._changed, self._turn, self._closing_lock = threading.Condition(), threading.Lock(), threading.RLock()
        self._called = list[_Run]()
        self._running: _Run | None = None
        self._closing = self._closes_itself = self._closed = False

    @property
    def parts(self) -> Parts:
        """Return the parts. Raises ``PipelineClosedError`` after ``close``."""
        self._refuse(self._closed)
        return self._parts

    @contextmanager
    def run(self) -> Iterator[None]:
        """Wait for the other runs to end, then let this one run. Raises ``PipelineClosedError``."""
        announced = _ANNOUNCED.get()
        run = announced if announced in self._called and announced is not None else _Run()
        run.thread = threading.get_ident()
        try:
            self._register(run)
            with self._turn:
                self._begin(run)
                try:
                    yield
                finally:
                    self._finish(run)
        finally:
            self._remove(run)

    async def on_a_thread(self, call: Callable[[], T]) -> T:
        """Return what ``call``, which has one run, returns on a thread of its own; the event loop goes on meanwhile.

        If the awaiting task is cancelled, this run is stopped, and ``CancelledError`` is raised when it has ended.
        """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        run, context = _Run(), copy_context()
        context.run(_ANNOUNCED.set, run)
        try:
            self._register(run)
            with ThreadPoolExecutor(1, "marketpipe-run") as thread:
                called = asyncio.get_running_loop().run_in_executor(thread, context.run, call)
                try:
                    return await asyncio.shield(called)
                except asyncio.CancelledError:
                    self.stop(run)
                    while not called.done():  # a second cancellation must not leave the run behind
                        with suppress(asyncio.CancelledError):
                            await asyncio.wait([called])
                    called.exception()  # an error that came after the cancellation has nowhere to go
                    raise
                finally:
                    self.stop(run)  # a coroutine that is closed cannot await, but waits for the thread all the same
        finally:
            self._remove(run)

    async def close_on_a_thread(self) -> None:
        """Do the same as ``close``; the event loop goes on meanwhile."""
        import asyncio

        await asyncio.to_thread(self.close)

    def stop(self, run: _Run | None = None) -> None:
        """Ask this run to end soon, or else all that were called by now. Runs that are called later do not notice."""
        with self._changed:
            for each in self._called if run is None else (run,):
                each.stopped = True
                if each is self._running:
                    self._parts.stop()

    def close(self) -> None:
        """Refuse further runs, stop those that were called, wait for them, and close the parts.

        On the thread of a run, as in a signal handler, or in an observer, it does not wait: the run closes the parts as
        it ends.
        """
        if os.getpid() != self._process:  # the runs are those of the parent
            self._closed = True
            self._parts.close()
            return
        with self._changed:
            self._closing = True
            self.stop()
            if self._called and self._is_within_a_run():
                self._closes_itself = True
                return
            self._changed.wait_for(lambda: not self._called)
        self._close_parts()

    def _is_within_a_run(self) -> bool:
        own = threading.get_ident()
        return self._parts.isolation.is_observing or any(run.thread == own for run in self._called)

    def _close_parts(self) -> None:
        with self._closing_lock:  # a second call returns when the first one has closed everything
            self._closed = True
            self._parts.close()

    def _refuse(self, closed: bool) -> None:
        if closed:
            raise PipelineClosedError(f"this {self._name} is closed: make a new one to go on")

    def _register(self, run: _Run) -> None:
        with self._changed:
            if run not in self._called:
                self._refuse(self._closing or self._closed)
                self._called.append(run)

    def _begin(self, run: _Run) -> None:
        with self._changed:
            self._running = run  # from here on ``stop`` reaches what runs; what came before is passed on
            if run.stopped:
                self._parts.stop()

    def _finish(self, run: _Run) -> None:
        with self._changed:
            if self._running is run:
                self._running = None
                self._parts.go()

    def _remove(self, run: _Run) -> None:
        with self._changed:
            if run in self._called:
                self._called.remove(run)
            self._changed.notify_all()
            is_last = self._closes_itself and not self._called
        if is_last:
            self._close_parts()
