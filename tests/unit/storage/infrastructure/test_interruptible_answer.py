from __future__ import annotations

import signal
import threading
from typing import Any

import duckdb
import pytest

from marketpipe.storage.infrastructure.interruptible_answer import answer_interruptibly


class SlowToBegin:
    """A connection that is interrupted before its query runs: DuckDB takes no notice of that, and runs it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection, self._early, self.interruptions = connection, threading.Event(), 0

    def sql(self, query: str) -> Any:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert self._early.wait(10)
        return self._connection.sql(query)

    def interrupt(self) -> None:
        self.interruptions += 1
        self._connection.interrupt()
        self._early.set()


def test_ctrl_c_ends_a_query_that_had_not_begun_when_it_came() -> None:
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    with duckdb.connect() as connection:
        slow: Any = SlowToBegin(connection)
        lifeline = threading.Timer(10, lambda: [connection.interrupt() for _ in range(3)])
        lifeline.start()

        with pytest.raises(KeyboardInterrupt):
            answer_interruptibly(slow, endless, 1_000)

        lifeline.cancel()
    assert slow.interruptions > 1
