"""What ingestion needs from outside: its durable state, split by role; orphan files; the state file itself; locks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import Protocol

from marketpipe.ingestion.domain.ingestion_checkpoint import Answer, IngestionCheckpoint, LeasedDays
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume
from marketpipe.ingestion.domain.store_status import (
    JobRecord,
    RecordedFile,
    RunRecord,
    StateCondition,
    SymbolSummary,
)
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, OfficialYearRegister, TotalKey, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.shared_kernel.events import StoredOfficialYear, StoredSymbolDay


class IngestionState(Protocol):
    """The durable state of one store, and its roles. All are safe to call from several threads, and raise
    ``StateError``.
    """

    @property
    def checkpoints(self) -> Checkpoints: ...

    @property
    def jobs(self) -> Jobs: ...

    @property
    def statistics(self) -> Statistics: ...

    @property
    def runs(self) -> Runs: ...

    @property
    def leases(self) -> SymbolDayLeases: ...

    @property
    def official_years(self) -> OfficialYears: ...

    def bind_dataset(self, identity: DatasetIdentity, kind: SessionKind, closing_auction: int | None = None) -> None:
        """Record which dataset the checkpoints are of, for which hours, and where its closing auction is.

        Raises ``DatasetMismatchError`` if they are another dataset's, or if a store of the extended session is bound
        to the regular one. A store of the regular session that is bound to the extended one is widened.
        """

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        """None before the first ``bind_dataset``."""

    def closing_auction(self) -> int | None:
        """Return what ``bind_dataset`` was last given, in minutes after the close; None before."""

    def version(self) -> object:
        """Return what changes whenever something is recorded, by whichever process, while this state is open."""

    def close(self) -> None:
        """Release the file and the holder's lock, with which all its leases end."""


class Checkpoints(Protocol):
    """The checkpoint of each symbol-day of one store. Raises ``StateError``."""

    def record(self, job_id: int, checked_at: Timestamp, answers: Sequence[Answer]) -> None:
        """Commit the checkpoints that these answers lead to, all or none of them.

        An answer that covers the regular session replaces the earlier checkpoint of its symbol-day. One of other hours
        only widens the hours of a settled day; it leaves an unsettled one as it is, except for the stored version.
        The count of equal answers goes up if outcome and version are the same as before, and else starts at one.
        """

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """Turn these settled days into failed ones, each for its reason; their stored versions stay recorded.

        The count of equal answers starts at one: those before were of another outcome.
        """

    def add_figures(self, days: Iterable[StoredSymbolDay]) -> None:
        """Record the figures of stored days whose recorded bytes are these and lack them; nothing else changes."""

    def forget(self, symbol: Symbol) -> None:
        """Remove the checkpoints of a symbol with their versions, as if none of its days was ever requested."""

    def premature(self, latest: Timestamp) -> Mapping[SymbolDay, Timestamp]:
        """Return the settled days that no right clock can have recorded, with the moment of their record.

        That is a moment after ``latest``, or one before 21:00 UTC of the day itself, when no session is final.
        """

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, IngestionCheckpoint]:
        """Return one symbol's days between the dates, both inclusive; ascending."""

    def settled_dates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, hours: SessionHours
    ) -> frozenset[date]:
        """Return the dates between these, both inclusive, that are settled for all of ``hours``.

        It is the quickest way to learn that a range is settled, as far as the record tells.
        """

    def settled_hours_and_marks(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> tuple[Mapping[TradingDate, SessionHours], Mapping[date, VersionMark]]:
        """Return, by date, the settled hours of the days that have any, and the marks of the recorded versions.

        It is much faster than ``between``, and enough to find that nothing is left to do.
        """

    def stored_spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        """Return for each symbol with stored bars the first and the last of their dates."""

    def requested_spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        """Return for each symbol with a checkpoint the first and the last of their dates."""

    def failed_for(self, reason: str) -> frozenset[Symbol]:
        """Return the symbols that have days which failed for exactly this reason."""

    def latest_settled(self) -> Mapping[Symbol, TradingDate]:
        """Return for each symbol the latest date that is complete or empty; symbols without one are absent."""


class OfficialYears(OfficialYearRegister, Protocol):
    """Which official days of one store are answered, by symbol and year. Raises ``StateError``."""

    def record(self, checked_at: Timestamp, years: Sequence[StoredOfficialYear]) -> None:
        """Commit what was stored, all or none of it. Answered days are added to those on record, or replace them.

        Years with an ``error`` are left as they are.
        """

    def symbols(self) -> frozenset[Symbol]:
        """Return the symbols with a record."""


class Jobs(Protocol):
    """The jobs of one store. Raises ``StateError``."""

    def open(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        """Return a new job's number.

        Jobs that a crash left running are closed as interrupted at their last checkpoint; running jobs of other live
        processes on the same store are not touched.
        """

    def close(self, job: IngestionJob, now: Timestamp) -> None: ...

    def interrupted(self) -> Sequence[InterruptedJob]:
        """Return the jobs that were stopped, and those that a crash left running; ascending."""

    def latest(self, most: int) -> Sequence[JobRecord]:
        """Return at most so many jobs, the latest first."""


class Runs(Protocol):
    """How the last runs of one store ended, and what all of them counted. Raises ``StateError``."""

    def record(self, run: RunRecord, counted: Mapping[TotalKey, float], stated: Mapping[TotalKey, float]) -> None:
        """Commit a run: ``counted`` is added to the totals, and ``stated`` replaces them."""

    def replace_totals(self, values: Mapping[TotalKey, float]) -> None:
        """Replace these totals alone."""

    def latest(self) -> Sequence[RunRecord]:
        """Return the last run of each kind and state, by kind, then state."""

    def totals(self) -> Mapping[TotalKey, float]: ...


class Statistics(Protocol):
    """Sums and averages over the checkpoints and files of one store. Raises ``StateError``."""

    def typical_volumes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, TypicalVolume]:
        """Average what is stored of each symbol, at least its latest days; symbols without bars are absent."""

    def typical_volume(self) -> TypicalVolume | None:
        """Average over all stored symbols, or over an even sample of them; None if nothing is stored."""

    def summaries(self) -> Sequence[SymbolSummary]:
        """Return one for each symbol with a checkpoint; ascending. Recorded files count, whether they exist or not."""

    def recorded_files(self, symbol: Symbol) -> Mapping[TradingDate, RecordedFile]:
        """Return what is recorded of a symbol's files; dates ascend."""


class SymbolDayLeases(Protocol):
    """Which of the processes that ingest into one store at the same time works on which symbol-day. Raises
    ``StateError``.

    A holder is one process with the state open. A symbol-day that another holder has leased cannot be taken; it is
    free again when that lease is released or has run out, or when its holder dies or closes its state. One holder may
    lease a symbol-day several times: threads of one process wait for one another.
    """

    def position(self) -> int:
        """Return the position of the latest checkpoint; those that are recorded later have later positions."""

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        """Lease those of the days that are free, in one step. ``wanted`` has the hours that each is wanted for.

        A day that was settled for those hours after the position ``since`` is not leased; if that is None, settled
        days are leased too.
        """

    def pin(self, lease: int, until: Timestamp) -> bool:
        """Keep a lease from running out while its days are written: a process that hung would write late.

        The holder's other leases last until ``until`` at least. Returns False if the lease had run out and another
        holder took its days over: then they must not be written.
        """

    def unpin(self, lease: int, until: Timestamp) -> None:
        """Let the lease run out at ``until`` again, after the writing."""

    def release(self, lease: int) -> None: ...

    def count(self, now: Timestamp) -> int:
        """Return how many symbol-days living processes have leased, those whose lease has run out not included."""

    def being_written(self, days: Collection[SymbolDay]) -> frozenset[SymbolDay]:
        """Return those of the days that a living process has pinned: a file may be newer than its checkpoint."""


class OrphanFiles(Protocol):
    """Files of minute bars without a checkpoint. Raises ``StorageError``."""

    def of(self, symbol: Symbol, dates: Collection[TradingDate]) -> Iterable[StoredSymbolDay]:
        """Yield what those of these dates contain, as their metadata states it; ``error`` is why a file cannot be
        trusted. The files are durable by then.
        """


class StoredState(Protocol):
    """The stored state, seen from outside. Raises ``StateError``."""

    def condition(self) -> StateCondition: ...

    def is_in_use(self) -> bool:
        """Whether a process is ingesting with it."""

    def archive(self, now: Timestamp) -> str:
        """Archive the state with all that belongs to it, and return its new location."""


class ExclusiveLock(Protocol):
    """A lock with one holder at a time, across threads and processes, which ends with its holder's process.

    It either waits until it is free, or refuses at once.
    """

    def acquired(self) -> AbstractContextManager[None]:
        """Hold the lock inside a ``with``. Raises ``StoreBusyError`` if it refuses, and ``StateError``."""
