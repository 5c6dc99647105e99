from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA


def scan_bars(files: Sequence[Path], only: pc.Expression | None = None) -> pa.Table:
    """The bars of many files at once, in the order given. Raises ``PartitionUnreadableError``."""
    if not files:
        return BAR_SCHEMA.empty_table()
    names = [str(path.absolute()) for path in files]  # or Arrow would take "s3:x" for a place elsewhere
    try:
        return ds.dataset(names, schema=BAR_SCHEMA, format="parquet").to_table(filter=only)
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(str(error)) from error
