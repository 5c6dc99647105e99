from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import QueryError

ROWS_AT_A_TIME: Final = 100_000
AGAIN_SECONDS: Final = 0.05


def answer_interruptibly(connection: duckdb.DuckDBPyConnection, sql: str, largest: int) -> pa.Table:
    """On a thread of its own, so that the caller's hears Ctrl-C and can end the query.

    Raises ``QueryError`` for an answer of more than ``largest`` bytes, instead of filling the memory.
    """
    at_work, ended = threading.Lock(), threading.Event()

    def work() -> pa.Table:
        with at_work:
            return None if ended.is_set() else _answer(connection, sql, largest)

    with ThreadPoolExecutor(1, "marketpipe-query") as runner:
        try:
            return runner.submit(work).result()
        finally:  # Ctrl-C may come at any moment; DuckDB does not hear of it before it has begun
            ended.set()
            while not at_work.acquire(timeout=AGAIN_SECONDS):
                connection.interrupt()
            at_work.release()


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, largest: int) -> pa.Table:
    batches, size = list[pa.RecordBatch](), 0
    with connection.sql(sql).to_arrow_reader(ROWS_AT_A_TIME) as reader:
        for batch in reader:
            size += batch.nbytes
            if size > largest:
                raise QueryError(f"the answer is larger than {largest:,} bytes: ask for fewer rows or columns")
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)
