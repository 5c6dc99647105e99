from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Final

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import QueryError

Connection = duckdb.DuckDBPyConnection

ROWS_AT_A_TIME: Final = 100_000
AGAIN_SECONDS: Final = 0.05


def answer_interruptibly(
    connect: Callable[[], AbstractContextManager[Connection]], ask: Callable[[Connection], pa.Table]
) -> pa.Table:
    """All that DuckDB does is done on a thread of its own, so that the caller's hears Ctrl-C and can end it.

    On the main thread DuckDB would take the signal for itself, and make an error of its own of it.
    """
    at_work, ended, opened = threading.Lock(), threading.Event(), list[Connection]()

    def work() -> pa.Table:
        with at_work:
            if ended.is_set():
                return None
            with connect() as connection:
                opened.append(connection)
                return ask(connection)

    with ThreadPoolExecutor(1, "marketpipe-query") as runner:
        try:
            return runner.submit(work).result()
        finally:  # Ctrl-C may come at any moment; DuckDB does not hear of it before it has begun
            ended.set()
            while not at_work.acquire(timeout=AGAIN_SECONDS):
                for connection in opened:
                    with suppress(duckdb.ConnectionException):  # closed by now
                        connection.interrupt()
            at_work.release()


def bounded_answer(connection: Connection, sql: str, largest: int) -> pa.Table:
    """Raises ``QueryError`` for one of more than ``largest`` bytes, instead of filling the memory."""
    batches, size = list[pa.RecordBatch](), 0
    with connection.sql(sql).to_arrow_reader(ROWS_AT_A_TIME) as reader:
        for batch in reader:
            size += batch.nbytes
            if size > largest:
                raise QueryError(f"the answer is larger than {largest:,} bytes: ask for fewer rows or columns")
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)
