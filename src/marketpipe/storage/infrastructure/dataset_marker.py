from __future__ import annotations

import json
import threading
from pathlib import Path

from attrs import asdict

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StorageError
from marketpipe.storage.infrastructure.durable_files import DurableFiles

FILE_NAME = "_dataset.json"  # engines that read Hive trees pass over names with an underscore


class DatasetMarker:
    """Says in the folder itself which dataset lives there, so that another one is never mixed in."""

    def __init__(self, root: Path, files: DurableFiles) -> None:
        self._path, self._files = root / FILE_NAME, files
        self._lock, self._claimed = threading.Lock(), False

    def read(self) -> DatasetIdentity | None:
        """None where nothing lives yet. Raises ``StorageError`` for a marker that cannot be read."""
        try:
            return DatasetIdentity(**json.loads(self._path.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"{self._path} cannot be read ({error}); restore it or give another output_path"
            ) from error

    def check(self, identity: DatasetIdentity) -> None:
        """Raises ``DatasetMismatchError``; touches nothing."""
        found = self.read()
        if found is not None and found != identity:
            raise DatasetMismatchError(
                f"{self._path.parent} holds the dataset of {found}; {identity} was asked for. "
                "One folder is one dataset: give another output_path"
            )

    def claim(self, identity: DatasetIdentity) -> None:
        """Marks an unmarked folder. Raises ``DatasetMismatchError``."""
        with self._lock:
            if self._claimed:
                return
            self.check(identity)
            if not self._path.exists():
                self._files.publish({self._path: (json.dumps(asdict(identity), indent=2) + "\n").encode()})
            self._claimed = True
