"""The locks of a store: their names, who takes them, and in which order.

Each is held by one process at a time, of those that share the state: a file beside a SQLite state, a row of the table
``locks`` in PostgreSQL. Who does not wait is refused with ``StoreBusyError``, and has done nothing.

| lock | taken by | if another has it |
|---|---|---|
| ``UPDATE`` | update, compact, drop, recover, gc if alone; copy for both stores, state copy | is refused |
| ``TABLE`` | publish-delta, copy, state copy | is refused |
| ``GC`` | gc, publish-delta, copy, state copy; recover of a bucket | is refused |
| ``AGGREGATION`` | what makes aggregates; drop | waits; an ingestion for seconds, then leaves it to the refresh |
| ``AGGREGATION`` | copy, state copy | is refused |
| ``OFFICIAL_REQUESTS`` | an ingestion that requests official days | waits, and looks each second if it is to stop |
| ``OFFICIAL`` | what stores official days, drop; verify, if it has found a problem of theirs | waits for two minutes |
| ``MONTHS`` | on a disk: what makes one file of a month, or day files: compact, what stores bars there | waits |
| ``DASK`` with a number | a run on Dask while its workers are to go on; they look at it | tries the next number |

ingest, audit and import take none for all of their time: they lease their symbol-days, and are seen by those who have
to be alone (``is_in_use`` of a state). Readers take none at all.

Who holds one of these and waits for another takes them in the order of the table, from above to below; so no two wait
for each other. Only of those that refuse at once the order does not matter. ``MONTHS`` is the last: inside of it files
are published, and no lock is taken.

PostgreSQL has two more, of a transaction: ``WRITING`` for those who give numbers to changes, and ``TAKING`` for those
who take leases. They come after all locks of this table. Over a bucket ``WRITING`` is taken in place of ``MONTHS``:
bars are stored in one transaction with their records there, and a lock that ends before it would let another process
read a month as it was before. With files on a disk and the state in PostgreSQL, ``MONTHS`` is taken inside of such a
transaction. If two ingestions then record the same file they could wait for each other; PostgreSQL ends that: it breaks
off a transaction that does nothing for 30 seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UPDATE: Final = "update"
TABLE: Final = "table"
GC: Final = "gc"
AGGREGATION: Final = "aggregation"
OFFICIAL_REQUESTS: Final = "official-requests"
OFFICIAL: Final = "official"
MONTHS: Final = "months"
DASK: Final = "dask"

EXCLUDING_CHANGES: Final = (UPDATE, TABLE, GC, AGGREGATION)
"""Who holds these, and sees that the state is not in use, keeps out all that changes bars, files or their records."""
HOLDERS: Final[Mapping[str, str]] = {
    UPDATE: "an update, compact, drop, recover or copy",
    TABLE: "a publish-delta or copy",
    GC: "a gc, recover, publish-delta or copy",
    AGGREGATION: "an aggregation or copy",
}
"""What may hold a lock, as an error calls it that refuses at once."""


def holder_of(purpose: str) -> str:
    return f"{HOLDERS.get(purpose, 'another command')} of this store"
