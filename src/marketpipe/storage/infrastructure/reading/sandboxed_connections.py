"""DuckDB connections that can read files below some folders, and do nothing else; kept from one query to the next.

To open one takes ten milliseconds, which is most of a small query. A query has one for itself. What it creates there,
it creates in a transaction that is rolled back, so that the next one finds an empty database; a connection on which
anything failed is closed. Each has a scratch folder of its own, for queries that need more than memory.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from tempfile import mkdtemp
from time import monotonic
from typing import Final

import duckdb
from attrs import frozen

Connection = duckdb.DuckDBPyConnection

CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}
LONGEST_USE_SECONDS: Final = 0.2
"""Most of the memory that DuckDB took for a query it returns only when its connection is closed. A query that ran for
longer may have taken much, and does not gain from ten milliseconds."""
NEW_SEED: Final = "SELECT setseed(?)"
"""A query may have set one for its random numbers, which no rollback takes back."""


@frozen(eq=False)
class _Sandboxed:
    connection: Connection
    scratch: str
    allowed: str

    def close(self) -> None:
        self.connection.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def is_usable(self, allowed: str) -> bool:
        """Return whether it reads these folders and no others; scratch folders that are old may have been removed."""
        return self.allowed == allowed and os.path.isdir(self.scratch)


class SandboxedConnections:
    """Opens connections, and keeps one that is not in use. Several threads may call."""

    def __init__(
        self, limits: Mapping[str, str], allowed: Callable[[], str], longest_use: float = LONGEST_USE_SECONDS
    ) -> None:
        """``limits`` are settings of DuckDB; ``allowed`` returns the folders that may be read, as a list in SQL.
        ``longest_use`` is for how many seconds a connection may be used that is kept.
        """
        self._longest = longest_use
        self._limits, self._allowed = limits, allowed
        self._idle, self._lock, self._is_closed = list[_Sandboxed](), threading.Lock(), False
        weakref.finalize(self, _close_all, self._idle, os.getpid())
        _EVERY.add(self)

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """Open a connection, or take the one that is kept; its database is empty, and what is created in it is gone
        afterwards.
        """
        sandboxed, since = self._taken() or self._opened(), monotonic()
        with ExitStack() as not_kept:
            not_kept.callback(sandboxed.close)
            sandboxed.connection.begin()
            yield sandboxed.connection
            sandboxed.connection.rollback()
            sandboxed.connection.execute(NEW_SEED, [secrets.randbelow(2**32) / 2**32])
            if monotonic() - since < self._longest:
                not_kept.pop_all()
                self._keep(sandboxed)

    def close(self) -> None:
        """Close the connection that is kept. Those in use are closed after their use."""
        self._is_closed = True
        self.close_idle()

    def close_idle(self) -> None:
        with self._lock:
            _close_all(self._idle, os.getpid())

    def lock_for_fork(self) -> None:
        """Close what is kept, and let no thread take or keep a connection until ``unlock_after_fork``: for a fork."""
        self._lock.acquire()
        _close_all(self._idle, os.getpid())

    def unlock_after_fork(self) -> None:
        self._lock.release()

    def _taken(self) -> _Sandboxed | None:
        allowed = self._allowed()
        with self._lock:
            sandboxed = self._idle.pop() if self._idle else None
        if sandboxed is None or sandboxed.is_usable(allowed):
            return sandboxed
        sandboxed.close()
        return None

    def _keep(self, sandboxed: _Sandboxed) -> None:
        with self._lock:
            if not (self._is_closed or self._idle):
                self._idle.append(sandboxed)
                return
        sandboxed.close()

    def _opened(self) -> _Sandboxed:
        allowed, scratch = self._allowed(), mkdtemp(prefix="marketpipe-query-")
        with ExitStack() as failed:
            failed.callback(shutil.rmtree, scratch, ignore_errors=True)
            connection = duckdb.connect(config={**CONFIG, **self._limits, "temp_directory": scratch})
            failed.callback(connection.close)
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET allowed_directories = [{allowed}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            failed.pop_all()
        return _Sandboxed(connection, scratch, allowed)


def _close_all(idle: list[_Sandboxed], process: int) -> None:
    """Close connections; a forked child leaves those of its parent alone."""
    while idle and os.getpid() == process:
        idle.pop().close()


_EVERY: Final = weakref.WeakSet[SandboxedConnections]()
_FORKING: Final = threading.Lock()
_LOCKED: Final = list[SandboxedConnections]()


def _lock_all() -> None:
    _FORKING.acquire()
    for each in list(_EVERY):
        each.lock_for_fork()
        _LOCKED.append(each)


def _unlock_all() -> None:
    """On the thread that forked, in the parent and in the child, which has no other thread."""
    while _LOCKED:
        _LOCKED.pop().unlock_after_fork()
    _FORKING.release()


# A forked child would have the connection without the threads that belong to it, and wait for them when it ends; and a
# lock that another thread had at that moment would never be released in it.
os.register_at_fork(before=_lock_all, after_in_parent=_unlock_all, after_in_child=_unlock_all)
