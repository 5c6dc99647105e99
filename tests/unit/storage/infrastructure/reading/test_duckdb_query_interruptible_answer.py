from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from marketpipe.storage.infrastructure.reading.duckdb_query import (
    CHECK_SIGNALS_EVERY_SECONDS,
    INTERRUPT_EVERY_SECONDS,
    DuckDBQuery,
    answer_interruptibly,
    bounded_answer,
)
from tests.support.store_on_disk import StoreOnDisk

ENDLESS = (
    "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
    "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t",
)


pytestmark = pytest.mark.usefixtures("ctrl_c_is_heard")


class SlowToBegin:
    """A connection that is interrupted before its query runs: DuckDB takes no notice of that, and runs it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection, self._early, self.interruptions = connection, threading.Event(), 0

    def sql(self, query: str) -> Any:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert self._early.wait(60)
        return self._connection.sql(query)

    def interrupt(self) -> None:
        self.interruptions += 1
        self._connection.interrupt()
        self._early.set()


def test_ctrl_c_ends_a_query_that_had_not_begun_when_it_came() -> None:
    with duckdb.connect() as connection:
        slow: Any = SlowToBegin(connection)
        lifeline = threading.Timer(10, lambda: [connection.interrupt() for _ in range(3)])
        lifeline.start()

        with pytest.raises(KeyboardInterrupt):
            answer_interruptibly(lambda: nullcontext(slow), lambda asked: bounded_answer(asked, ENDLESS[0], 1_000))

        lifeline.cancel()
    assert slow.interruptions > 1


def test_a_connection_whose_query_has_ended_is_not_interrupted() -> None:
    interrupted, main = list[bool](), threading.main_thread().ident or 0

    class Connection:
        def interrupt(self) -> None:
            interrupted.append(True)

    @contextmanager
    def kept_after_ctrl_c() -> Iterator[Any]:
        yield Connection()
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(4 * INTERRUPT_EVERY_SECONDS + CHECK_SIGNALS_EVERY_SECONDS)  # by now another query may have it

    with pytest.raises(KeyboardInterrupt):
        answer_interruptibly(kept_after_ctrl_c, lambda _: None)

    assert not interrupted


@pytest.mark.parametrize("sql", ENDLESS)
@pytest.mark.parametrize("seconds", [0.005, 0.01, 0.02, 0.03, 0.25])
def test_an_endless_query_ends_with_ctrl_c_whenever_it_comes(tmp_path: Path, sql: str, seconds: float) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run_and_interrupt(StoreOnDisk(tmp_path).query, sql, seconds)


def test_duckdb_does_nothing_on_the_thread_that_hears_ctrl_c() -> None:
    threads = answer_interruptibly(duckdb.connect, lambda _: pa.table({"thread": [threading.current_thread().name]}))

    assert threads["thread"].to_pylist() == ["marketpipe-query_0"]


def _run_and_interrupt(query: DuckDBQuery, sql: str, seconds: float) -> None:
    """Press Ctrl-C after ``seconds``, and again if Python dropped it, as it does while it runs a finalizer."""
    main, begun, ended = threading.main_thread().ident or 0, threading.Event(), threading.Event()

    def press() -> None:
        assert begun.wait(60)
        for pause in (seconds, 10, 10, 10):
            if ended.wait(pause):
                return
            signal.pthread_kill(main, signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        begun.set()  # not before: Ctrl-C in the middle of the start would leave the thread pressing, in later tests too
        query.run(sql)
    finally:
        ended.set()
        pressing.join()
        query.close()  # or the garbage collector would close its connection, in the middle of a later test
