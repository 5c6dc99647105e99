from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.stored_version import moment_of


@frozen
class KnownVersion:
    """What was known of a symbol-day. ``path`` may be its day file, where another version may come at any time."""

    symbol_day: SymbolDay
    known_since: Timestamp
    path: Path


class KnownVersions:
    """Which files hold what the store knew at a moment. It looks at times and names, and opens no file."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def at(self, moment: Timestamp, days: Iterable[SymbolDay]) -> list[KnownVersion]:
        """In the order of ``days``, which ascend; none for a day of which nothing was known.

        Raises ``StorageError``.
        """
        months = groupby(days, key=MonthPartition.of)
        return [known for month, group in months for known in self._in_month(moment, month, list(group))]

    def _in_month(self, moment: Timestamp, month: MonthPartition, days: list[SymbolDay]) -> Iterator[KnownVersion]:
        current = {day: since for day in days if (since := _modified(self._layout.bars(day)))}
        # The revisions after the files. A version becomes a revision before its file is replaced, so whoever has seen
        # a file that is too new finds here what was there before it. The other way round, a version could move from
        # the one place to the other between the two looks, and be seen in neither.
        former = {each.symbol_day: each for each in self._layout.revisions_of(month) if each.known_since <= moment}
        for day in days:
            if day in current and current[day] <= moment:
                yield KnownVersion(day, current[day], self._layout.bars(day))
            elif day in former:  # ascending: the newest stayed
                yield KnownVersion(day, former[day].known_since, self._layout.revision(former[day]))


def _modified(path: Path) -> Timestamp | None:
    try:
        return moment_of(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}") from error
