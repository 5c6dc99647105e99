from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from marketpipe.ingestion.domain.ingestion_checkpoint import DayOutlines, DayRecord, IngestionCheckpoint, LeasedDays
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume
from marketpipe.ingestion.domain.store_status import JobRecord, StateCondition, SymbolSummary
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay


class IngestionState(Protocol):
    """Jobs and checkpoints of one store, durable and safe to call from several threads. Raises ``StateError``."""

    def bind_dataset(self, identity: DatasetIdentity, kind: SessionKind) -> None:
        """Says which dataset the checkpoints are of, and of which hours.

        Raises ``DatasetMismatchError`` where they are another's, and where a store of the extended session would take
        regular hours only. A store of the regular session that is claimed for the extended one is that from then on.
        """
        ...

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        """None where nobody has claimed it yet."""
        ...

    def open_job(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        """A new job's number.

        Jobs that a crash left running are closed as interrupted after their last checkpoint; those of others who are
        at work on the same store are left alone.
        """
        ...

    def interrupted_jobs(self) -> Sequence[InterruptedJob]:
        """Those that somebody stopped, and those that a crash left running; ascending."""
        ...

    def close_job(self, job: IngestionJob, now: Timestamp) -> None: ...

    def record(self, checkpoints: Sequence[IngestionCheckpoint]) -> None:
        """All or none of them.

        A checkpoint that covers the regular session replaces what was known of its symbol-day. One of other hours only
        widens the hours of a settled day; it leaves an unsettled one as it is, but for the file. ``answers`` goes up
        where outcome and file are the same as before, and starts at one where they are not.
        """
        ...

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """These settled days count as failed from now on, each for its reason; their files stay on record."""
        ...

    def records(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, DayRecord]:
        """What is known of one symbol's days between the dates, both inclusive; ascending."""
        ...

    def outlines(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> DayOutlines:
        """The least of the same, which is quicker."""
        ...

    def lives(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        """Of each symbol that was ever asked for and has stored bars the first and the last of their dates."""
        ...

    def spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        """Of each symbol that was ever asked for the first and the last date for which it was."""
        ...

    def latest_settled(self) -> Mapping[Symbol, TradingDate]:
        """Of each symbol the latest date that is complete or empty; those without are absent."""
        ...

    def typical_volumes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, TypicalVolume]:
        """Of what is stored of these symbols, the latest days at least; those without are absent."""
        ...

    def typical_volume(self) -> TypicalVolume | None:
        """Of what is stored, whatever the symbol, or of a good part of it; None where that is nothing."""
        ...

    def summaries(self) -> Sequence[SymbolSummary]: ...

    def jobs(self, most: int) -> Sequence[JobRecord]:
        """The latest first."""
        ...

    def close(self) -> None: ...


class FilesLeftBehind(Protocol):
    """Files of minute bars that nobody has written down. Raises ``StorageError``."""

    def of(self, symbol: Symbol, dates: Collection[TradingDate]) -> Iterable[StoredSymbolDay]:
        """What those of these dates say of themselves. They are durable by then; the ``error`` of a day says why its
        file cannot be believed."""
        ...


class StateFile(Protocol):
    """Where the state lies, looked at from outside. Raises ``StateError``."""

    def condition(self) -> StateCondition: ...

    def is_in_use(self) -> bool:
        """Whether somebody is ingesting with it."""
        ...

    def set_aside(self, now: Timestamp) -> str:
        """The path under which it lies from then on, with all that belongs to it."""
        ...


class SymbolDayLeases(Protocol):
    """Who works on which symbol-days of one store, among all who do at once. Raises ``StateError``.

    Nobody gets what another holds. What a holder holds is free at once when it dies or closes its state, and when its
    lease has run out. One holder may hold a symbol-day under several leases: its own threads wait for one another.
    """

    def position(self) -> int:
        """Of the latest checkpoint: those recorded from now on come after it."""
        ...

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        """In one step, those that are free. ``wanted`` says for which hours.

        What was settled for those hours after the position ``since`` is not taken; None: whatever is settled.
        """
        ...

    def pin(self, lease: int, until: Timestamp) -> bool:
        """While what it holds is written it does not run out: whoever hangs in the middle of that would write later.

        Its holder's other leases last until then at least. False where it has run out and somebody else took what it
        held: then its holder must not write that.
        """
        ...

    def unpin(self, lease: int, until: Timestamp) -> None:
        """All is written: from ``until`` on others may take it over again."""
        ...

    def release(self, lease: int) -> None: ...
