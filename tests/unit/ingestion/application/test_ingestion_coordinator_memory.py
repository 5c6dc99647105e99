from __future__ import annotations

import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from marketpipe.ingestion.domain.ingestion_job import BatchProgress, JobState
from tests.support.coordination import coordination

SYMBOLS = [f"S{number:02}" for number in range(40)]
WORKERS, PATIENCE = 2, 60.0


def _remembered() -> int:
    """Return how many there are, plus a constant: each refers to its class.

    ``gc.get_objects`` would hold tuples that other threads are still filling: CPython then raises a SystemError there.
    """
    return sys.getrefcount(BatchProgress)


def test_batches_that_have_ended_are_not_remembered_until_the_job_ends() -> None:
    """Each holds an object for each of its symbol-days; the caller's thread takes the outcomes over as batches end."""
    gc.collect()
    before = _remembered()
    parts, seen = coordination(lambda: ThreadPoolExecutor(WORKERS)), list[int]()

    def look() -> None:
        deadline = time.monotonic() + PATIENCE
        while (remembered := _remembered() - before) > WORKERS and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(remembered)

    parts.ring.happens = {SYMBOLS[-1]: look}

    job = parts.ingest(*SYMBOLS)

    assert (job.state, len(job.outcomes)) == (JobState.COMPLETED, 2 * len(SYMBOLS))
    assert seen[0] <= WORKERS
