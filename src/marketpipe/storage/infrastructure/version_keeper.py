from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from attrs import field, frozen

from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.file_group import FileGroup
from marketpipe.storage.infrastructure.parquet_writer import sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.stored_version import StoredVersion, moment_at

MICROSECOND = timedelta(microseconds=1)


@frozen
class NewVersion:
    """The bytes that are to lie at ``path``, in the place of ``stored``."""

    symbol_day: SymbolDay
    path: Path
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


class NewVersions:
    """Those of one group. Each is written as soon as it is put in, and takes its place with all others."""

    def __init__(self, group: FileGroup, now: Timestamp) -> None:
        self._group, self._now = group, now
        self.changed, self.confirmed = list[NewVersion](), list[NewVersion]()

    def put(self, version: NewVersion) -> None:
        if version.says_the_same:
            self.confirmed.append(version)
        else:
            self.changed.append(version)
            self._group.add(version.path, version.content, version.modified_ns(self._now))

    def put_beside(self, path: Path, content: bytes) -> None:
        """Another file of the same group, of which no versions are kept."""
        self._group.add(path, content)

    def known_since(self) -> dict[SymbolDay, Timestamp]:
        """Once they are published. A file system may keep coarser times than it was given."""
        times = self._group.modified_ns
        return {
            **{version.symbol_day: moment_at(times[version.path]) for version in self.changed},
            **{version.symbol_day: version.stored.known_since for version in self.confirmed if version.stored},
        }


class VersionKeeper:
    """Puts new day files in the place of old ones, and forgets no version: see ADR 0009."""

    def __init__(self, layout: StoreLayout, files: DurableFiles, clock: Clock) -> None:
        self._layout, self._files, self._clock = layout, files, clock

    @contextmanager
    def publishing(self) -> Iterator[NewVersions]:
        """What is put in is published at the end; nothing of it where that is an error. Raises ``StorageError``."""
        with self._files.group() as group:
            versions = NewVersions(group, self._clock.now())
            yield versions
            self._keep_revisions(versions.changed)  # before the first file is replaced: a crash may lose no version
        self._files.confirm([version.path for version in versions.confirmed])

    def _keep_revisions(self, changed: Sequence[NewVersion]) -> None:
        revisions = {version.path: revision for version in changed if (revision := version.revision)}
        self._files.keep({path: self._layout.revision(revision) for path, revision in revisions.items()})
