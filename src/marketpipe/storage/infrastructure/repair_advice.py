"""What errors of damaged files advise, once it is known of which dataset the store is.

What reads a file knows no more than its path: that imported bars come from files of the user, and others from a
provider, is known where the store is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import repair_of, repaired_by
from marketpipe.storage.infrastructure.compacted.day_access import month_unreadable


@contextmanager
def advising(identity: Callable[[], DatasetIdentity | None]) -> Iterator[None]:
    """Let an error of a damaged file in this block name what repairs it in a store of this dataset.

    ``identity`` returns the dataset, None if it is not known; it is asked only then. The advice of an error that has
    passed such a block before is replaced.
    """
    try:
        yield
    except MonthUnreadableError as error:
        raise month_unreadable(error.path, error.problem, repair_of(_month_of(error.path), identity())) from error
    except PartitionUnreadableError as error:
        problem = error.problem or str(error).rstrip(".")
        advised = PartitionUnreadableError(f"{problem}. {repaired_by(identity())}")
        advised.problem = problem
        raise advised from error


def _month_of(path: str) -> MonthPartition:
    """Return the month of a file in its folder, such as ``symbol=AAPL/year=2024/month=01/days.parquet``."""
    symbol, year, month = (folder.partition("=")[2] for folder in PurePath(path).parts[-4:-1])
    return MonthPartition(Symbol(symbol), int(year), int(month))
