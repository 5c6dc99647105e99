from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from attrs import field, frozen

from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.parquet_writer import sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.stored_version import StoredVersion, moment_of

MICROSECOND = timedelta(microseconds=1)


@frozen
class NewVersion:
    """The bytes that are to lie in the place of ``stored``."""

    symbol_day: SymbolDay
    content: bytes = field(repr=False)
    stored: StoredVersion | None
    recorded: RecordedFile | None = None

    @property
    def says_the_same(self) -> bool:
        """Also since when it is known."""
        return self.stored is not None and self.stored.content == self.content and not self._has_lost_its_time

    @property
    def _has_lost_its_time(self) -> bool:
        """As in a tree that was copied without times: the state knows better."""
        return self._is_recorded and self.stored is not None and self.stored.known_since != self._recorded_since

    @property
    def _is_recorded(self) -> bool:
        """The provider says again what is on record, of a file that was lost or changed by somebody else."""
        return self.recorded is not None and self.recorded.sha256 == sha256(self.content)

    @property
    def _recorded_since(self) -> Timestamp | None:
        known = self.recorded.known_since if self.recorded else None
        return known if known is not None and known.epoch_micros else None

    @property
    def revision(self) -> Revision | None:
        """What ``stored`` becomes; a file that is damaged, or not the one on record, was never the store's word."""
        if self.stored is None or self.stored.damage or self.stored.content == self.content:
            return None
        if self.recorded is None:
            return Revision(self.symbol_day, self.stored.known_since)
        if self.recorded.sha256 != sha256(self.stored.content):
            return None
        return Revision(self.symbol_day, self._recorded_since or self.stored.known_since)

    def modified_ns(self, now: Timestamp) -> int:
        """The moments of a symbol-day ascend, also where the clock stands still or goes back."""
        if self._is_recorded and self._recorded_since is not None:
            return self._recorded_since.epoch_micros * 1000
        former = self.revision
        since = now if former is None else max(now, former.known_since.plus(MICROSECOND))
        return since.epoch_micros * 1000


class VersionKeeper:
    """Puts new day files in the place of old ones, and forgets no version: see ADR 0009."""

    def __init__(self, layout: StoreLayout, files: DurableFiles, clock: Clock) -> None:
        self._layout, self._files, self._clock = layout, files, clock

    def publish(self, versions: Sequence[NewVersion], beside: Mapping[Path, bytes]) -> Mapping[SymbolDay, Timestamp]:
        """Since when what now lies there has been known. ``beside`` are other files of the same group."""
        changed = [version for version in versions if not version.says_the_same]
        self._keep_revisions(changed)  # durable before the first file is replaced: a crash may not lose a version
        now = self._clock.now()
        contents = {self._layout.bars(version.symbol_day): version.content for version in changed}
        times = {self._layout.bars(version.symbol_day): version.modified_ns(now) for version in changed}
        self._files.publish({**beside, **contents}, times)
        self._files.confirm([self._layout.bars(version.symbol_day) for version in versions if version.says_the_same])
        return {version.symbol_day: self._known_since(version.symbol_day) for version in versions}

    def _keep_revisions(self, changed: Sequence[NewVersion]) -> None:
        revisions = [revision for version in changed if (revision := version.revision)]
        self._files.keep({self._layout.bars(each.symbol_day): self._layout.revision(each) for each in revisions})

    def _known_since(self, day: SymbolDay) -> Timestamp:
        """As the file itself says it: a file system may keep coarser times than it was given."""
        path = self._layout.bars(day)
        try:
            return moment_of(path.stat())
        except OSError as error:
            raise StorageError(f"cannot look at {path}: {error.strerror}") from error
