from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, PartitionUnreadableError
from marketpipe.storage.domain.storage_metadata import identity_in
from marketpipe.storage.infrastructure.parquet_reader import read_metadata
from marketpipe.storage.infrastructure.store_layout import StoreLayout

FILES_TRIED, FILES_ASKED = 20, 300


class StoredIdentity:
    """Which dataset lives in a store: the day files say it themselves, so nobody can lose or forge a marker."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def read(self) -> DatasetIdentity | None:
        """Of the first file that can be read; None where nothing is stored yet."""
        return next(self._said_by(FILES_TRIED), None)

    def prevailing(self) -> DatasetIdentity | None:
        """Of most of some hundred files: one that was copied here from another store does not speak for this one."""
        counted = Counter(self._said_by(FILES_ASKED)).most_common(1)
        return counted[0][0] if counted else None

    def check(self, identity: DatasetIdentity) -> None:
        """Raises ``DatasetMismatchError``; touches nothing."""
        found = self.read()
        if found is not None and found != identity:
            raise DatasetMismatchError(
                f"{self._layout.data} holds the dataset of {found}; {identity} was asked for. "
                "One folder is one dataset: give another output_path"
            )

    def _said_by(self, most: int) -> Iterator[DatasetIdentity]:
        for path in islice(self._layout.any_day_files(), most):
            try:
                found = identity_in(read_metadata(path))
            except PartitionUnreadableError:
                continue
            if found is not None:
                yield found
