from __future__ import annotations

from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST
from marketpipe.storage.application.integrity_tally import IntegrityTally
from marketpipe.storage.application.ports import StoredFiles
from marketpipe.storage.domain.dataset_lock import FROZEN, DatasetLock
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport


class LockComparer:
    """Holds the files that a lock lists against it; asks nobody what was recorded of them."""

    def __init__(self, files: StoredFiles) -> None:
        self._files = files

    def compare(self, lock: DatasetLock) -> IntegrityReport:
        """Reads what the lock lists, and nothing else."""
        tally, left = IntegrityTally(), {file.path: file for file in lock.files}
        digests = frozenset(file.sha256 for file in lock.files)
        symbols = {file.path.partition("symbol=")[2].partition("/")[0] for file in lock.files}
        for symbol in sorted(self._files.symbols()):
            tally.extra += [path for path in self._files.paths(symbol) if _may_be_frozen(path) and path not in left]
            if str(symbol) in symbols:
                for file in self._files.check(symbol, DISTANT_PAST, DISTANT_FUTURE, *FROZEN, proven=digests):
                    if (frozen := left.pop(file.path, None)) is not None:
                        tally.add(file, frozen.problem_of(file))
        for path in sorted(left):
            tally.add_problem(IntegrityProblem(path, Damage.GONE, "was frozen, and is not here"))
        return tally.report()


def _may_be_frozen(path: str) -> bool:
    return path.startswith(tuple(f"{area}/" for area in FROZEN))
