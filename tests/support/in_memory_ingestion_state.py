"""``IngestionState`` in plain Python, without a file."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from attrs import define, evolve

from marketpipe.ingestion.domain.ingestion_checkpoint import Answer, IngestionCheckpoint, LeasedDays, contradiction
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume
from marketpipe.ingestion.domain.store_status import JobRecord, RecordedFile, RunRecord, SymbolSummary
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.store_inventory import (
    NO_MARK,
    DatasetIdentity,
    RecordedOfficialYear,
    RecordedVersion,
    TotalKey,
    VersionMark,
)
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, SessionHours, SessionKind, TradingDate
from marketpipe.shared_kernel.events import StoredOfficialYear, StoredSymbolDay


class InMemoryIngestionState:
    """The state; ``known`` has the checkpoints without their versions."""

    def __init__(
        self,
        new_checkpoints: Callable[[Memory], InMemoryCheckpoints] | None = None,
        memory: Memory | None = None,
        holder: str = "one",
    ) -> None:
        self._dataset: tuple[DatasetIdentity, SessionKind] | None = None
        self._closing_auction: int | None = None
        memory = self._memory = memory or Memory()
        self.checkpoints = (new_checkpoints or InMemoryCheckpoints)(memory)
        self.jobs, self.statistics = InMemoryJobs(memory), InMemoryStatistics(memory)
        self.runs = InMemoryRuns()
        self.leases, self.official_years = InMemoryLeases(memory, holder), InMemoryOfficialYears(memory)

    @property
    def known(self) -> dict[SymbolDay, IngestionCheckpoint]:
        return self._memory.known

    def job_of(self, day: SymbolDay) -> int:
        """Return the job that recorded the symbol-day."""
        return self._memory.checked[day][0]

    def shared_by(self, holder: str) -> InMemoryIngestionState:
        """Return the same state as another process would have it open."""
        return InMemoryIngestionState(memory=self._memory, holder=holder)

    def bind_dataset(self, identity: DatasetIdentity, kind: SessionKind, closing_auction: int | None = None) -> None:
        known, known_kind = self._dataset or (identity, kind)
        if known != identity:
            raise DatasetMismatchError(f"checkpoints of {known}; {identity} was requested")
        if known_kind is SessionKind.EXTENDED and kind is SessionKind.REGULAR:
            raise DatasetMismatchError("checkpoints of session extended; session regular was requested")
        self._dataset, self._closing_auction = (identity, kind), closing_auction

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        return self._dataset

    def closing_auction(self) -> int | None:
        return self._closing_auction

    def version(self) -> object:
        memory = self._memory
        recorded = memory.jobs, memory.known, memory.checked, memory.files, memory.official_years
        return repr((self._dataset, self._closing_auction, *recorded))

    def close(self) -> None:
        self._memory.is_open = False


class Memory:
    """The data that all roles of the state share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_open = True
        self.jobs: dict[int, JobRecord] = {}
        self.kinds: dict[int, SessionKind] = {}
        self.known: dict[SymbolDay, IngestionCheckpoint] = {}
        self.checked: dict[SymbolDay, tuple[int, Timestamp]] = {}
        self.files: dict[SymbolDay, StoredSymbolDay] = {}
        self.changes, self.change_of = 0, dict[SymbolDay, int]()
        self.leases: dict[int, InMemoryLease] = {}
        self.latest_lease = 0
        self.official_years: dict[tuple[Symbol, int], RecordedOfficialYear] = {}

    def snapshot(self) -> dict[SymbolDay, IngestionCheckpoint]:
        with self.lock:
            self.check_open()
            return dict(self.known)

    def check_open(self) -> None:
        if not self.is_open:
            raise StateError("the state is closed")

    def checkpoint(self, day: SymbolDay) -> IngestionCheckpoint:
        """Return the checkpoint with the stored version, if there is one."""
        known, file = self.known[day], self.files.get(day)
        if file is None:
            return known
        version = RecordedVersion(file.mark or NO_MARK, file.known_since, str(file.sha256))
        return evolve(known, rows=file.rows, version=version, minutes=file.minutes, figures=file.figures)


@define
class InMemoryJobs:
    _memory: Memory

    def open(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        with self._memory.lock:
            self._memory.check_open()
            for number, job in self._memory.jobs.items():
                if job.state == str(JobState.RUNNING):
                    ended = max(self._moments_of(number), default=job.started_at)
                    self._memory.jobs[number] = evolve(job, state=str(JobState.INTERRUPTED), finished_at=ended)
            number = len(self._memory.jobs) + 1
            size, state = len(scope.symbols), str(JobState.RUNNING)
            self._memory.jobs[number] = JobRecord(
                number, state, str(now), None, size, scope.first, scope.last, planned, 0, 0
            )
            self._memory.kinds[number] = scope.session_kind
            return number

    def interrupted(self) -> Sequence[InterruptedJob]:
        """Return interrupted jobs; every running job counts as one whose process has ended."""
        self._memory.snapshot()
        ended_so = str(JobState.INTERRUPTED), str(JobState.RUNNING)
        return [
            InterruptedJob(number, Timestamp.parse(job.started_at), job.first, job.last, self._memory.kinds[number])
            for number, job in self._memory.jobs.items()
            if job.state in ended_so
        ]

    def close(self, job: IngestionJob, now: Timestamp) -> None:
        planned, done, failed = job.totals
        with self._memory.lock:
            self._memory.check_open()
            self._memory.jobs[job.job_id] = evolve(
                self._memory.jobs[job.job_id],
                state=str(job.state),
                finished_at=str(now),
                planned=planned,
                done=done,
                failed=failed,
            )

    def latest(self, most: int) -> Sequence[JobRecord]:
        self._memory.snapshot()
        return sorted(self._memory.jobs.values(), key=lambda job: job.job_id, reverse=True)[:most]

    def _moments_of(self, job_id: int) -> list[str]:
        return [str(moment) for number, moment in self._memory.checked.values() if number == job_id]


@define
class InMemoryCheckpoints:
    _memory: Memory

    def record(self, job_id: int, checked_at: Timestamp, answers: Sequence[Answer]) -> None:
        listed = list(answers)
        with self._memory.lock:
            self._memory.check_open()
            self._memory.changes += 1
            for answer in listed:
                day = answer[0].symbol_day
                before = self._memory.known.get(day)
                if (known := self._next(before, answer)) is not None:
                    if before is not None and known.answers > before.answers:
                        asked = self._memory.checked[day][1].moment.date()
                        known = evolve(known, days=before.days + (asked != checked_at.moment.date()))
                    self._memory.known[day], self._memory.checked[day] = known, (job_id, checked_at)
                self._memory.change_of[day] = self._memory.changes
                self._record_file(answer)
                if job := self._memory.jobs.get(job_id):
                    failed = int(answer[0].outcome is Outcome.FAILED)
                    self._memory.jobs[job_id] = evolve(job, done=job.done + 1 - failed, failed=job.failed + failed)

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        for date, reason in reasons.items():
            known = self._memory.known.get(day := SymbolDay(symbol, date))
            if known is not None and known.outcome.is_settled:
                self._memory.known[day] = evolve(known, outcome=Outcome.FAILED, error=reason, answers=1, days=1)

    def add_figures(self, days: Iterable[StoredSymbolDay]) -> None:
        for day in days:
            file = self._memory.files.get(day.symbol_day)
            if day.figures and file and file.sha256 == day.sha256 and file.figures is None:
                self._memory.files[day.symbol_day] = evolve(file, figures=day.figures)

    def forget(self, symbol: Symbol) -> None:
        with self._memory.lock:
            self._memory.changes += 1
            for part in (self._memory.known, self._memory.checked, self._memory.change_of, self._memory.files):
                for day in [day for day in part if day.symbol == symbol]:
                    del part[day]

    def premature(self, latest: Timestamp) -> Mapping[SymbolDay, Timestamp]:
        with self._memory.lock:
            settled = [day for day, known in self._memory.known.items() if known.outcome.is_settled]
            moments = {day: self._memory.checked[day][1] for day in settled}
        return {
            day: at
            for day, at in moments.items()
            if at > latest or at < Timestamp.parse(f"{day.trading_date}T21:00:00Z")
        }

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, IngestionCheckpoint]:
        known = self._memory.snapshot()
        days = sorted(day for day in known if day.symbol == symbol and first <= day.trading_date <= last)
        return {day.trading_date: self._memory.checkpoint(day) for day in days}

    def settled_dates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, hours: SessionHours
    ) -> frozenset[dt.date]:
        known = self.between(symbol, first, last).items()
        return frozenset(
            date.day for date, found in known if found.outcome.is_settled and found.settled_hours.covers(hours)
        )

    def settled_hours_and_marks(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> tuple[Mapping[TradingDate, SessionHours], Mapping[dt.date, VersionMark]]:
        known = self.between(symbol, first, last)
        settled = {date: found.settled_hours for date, found in known.items() if found.settled_hours}
        return settled, {date.day: found.version.mark for date, found in known.items() if found.version is not None}

    def stored_spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        self._memory.snapshot()
        days = sorted(self._memory.files)
        first = {day.symbol: day.trading_date for day in reversed(days)}
        return {
            symbol: (first[symbol], max(day.trading_date for day in days if day.symbol == symbol)) for symbol in first
        }

    def requested_spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        return {found.symbol: (found.first, found.last) for found in InMemoryStatistics(self._memory).summaries()}

    def failed_for(self, reason: str) -> frozenset[Symbol]:
        return frozenset(
            day.symbol
            for day, found in self._memory.known.items()
            if found.outcome is Outcome.FAILED and found.error == reason
        )

    def latest_settled(self) -> Mapping[Symbol, TradingDate]:
        days = [day for day, found in self._memory.snapshot().items() if found.outcome.is_settled]
        return {day.symbol: day.trading_date for day in sorted(days)}

    def _next(self, known: IngestionCheckpoint | None, answer: Answer) -> IngestionCheckpoint | None:
        result, hours, _ = answer
        failed = result.outcome is Outcome.FAILED and result.error != contradiction(result.rows)
        if known is not None and known.outcome.is_settled and failed:
            return None
        if known is None or SessionHours.REGULAR in hours:
            answers = known.answers + 1 if known is not None and self._repeated(known, answer) else 1
            return IngestionCheckpoint(result.outcome, hours, answers, result.rejected, result.error)
        if known.outcome.is_settled and result.outcome.is_settled:
            outcome = Outcome.COMPLETE if Outcome.COMPLETE in (known.outcome, result.outcome) else Outcome.EMPTY
            rejected = known.rejected + result.rejected
            return evolve(known, outcome=outcome, rejected=rejected, hours=known.hours | hours)
        return None

    def _repeated(self, known: IngestionCheckpoint, answer: Answer) -> bool:
        result, file = answer[0], self._memory.files.get(answer[0].symbol_day)
        if result.outcome is Outcome.EMPTY and known.outcome is Outcome.FAILED:
            return known.error == contradiction(file.rows if file else 0)
        same = known.outcome is result.outcome and (result.outcome is not Outcome.FAILED or known.error == result.error)
        return same and self._same_file(answer)

    def _same_file(self, answer: Answer) -> bool:
        result, _, stored = answer
        sha = stored.sha256 if stored else None
        if sha is None and result.outcome in (Outcome.EMPTY, Outcome.FAILED):
            return True
        file = self._memory.files.get(result.symbol_day)
        return sha == (file.sha256 if file else None)

    def _record_file(self, answer: Answer) -> None:
        result, hours, file = answer
        day = result.symbol_day
        if result.outcome is Outcome.EMPTY and SessionHours.REGULAR in hours:
            self._memory.files.pop(day, None)
        elif file and file.sha256:
            known = self._memory.files.get(day)
            if known and known.sha256 == file.sha256:
                since = file.known_since or known.known_since
                minutes = known.minutes if file.minutes is None else file.minutes
                figures = known.figures if file.figures is None else file.figures
                file = evolve(file, known_since=since, minutes=minutes, figures=figures)
            self._memory.files[day] = file


@define
class InMemoryOfficialYears:
    _memory: Memory

    def years(self, symbol: Symbol, first: int, last: int) -> Mapping[int, RecordedOfficialYear]:
        self._memory.snapshot()
        known = sorted((year, found) for (owner, year), found in self._memory.official_years.items() if owner == symbol)
        return {year: found for year, found in known if first <= year <= last}

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(symbol for symbol, _ in self._memory.official_years)

    def record(self, checked_at: Timestamp, years: Sequence[StoredOfficialYear]) -> None:
        self._memory.snapshot()
        for stored in years:
            if stored.error is None:
                key = stored.symbol, stored.year
                known = self._memory.official_years.get(key)
                former = DaysOfYear(stored.year) if known is None or stored.replaces else known.answered
                self._memory.official_years[key] = RecordedOfficialYear(former | stored.answered, stored.version)

    def reopen(self, symbol: Symbol, dates: Collection[TradingDate]) -> None:
        for (owner, year), known in list(self._memory.official_years.items()):
            if owner == symbol:
                reopened = DaysOfYear.of(year, (date for date in dates if date.day.year == year))
                self._memory.official_years[owner, year] = evolve(known, answered=known.answered - reopened)

    def forget(self, symbol: Symbol) -> None:
        for key in [key for key in self._memory.official_years if key[0] == symbol]:
            del self._memory.official_years[key]


class InMemoryRuns:
    def __init__(self) -> None:
        self._runs, self._totals = dict[tuple[str, str], RunRecord](), dict[TotalKey, float]()

    def record(self, run: RunRecord, counted: Mapping[TotalKey, float], stated: Mapping[TotalKey, float]) -> None:
        self._runs[run.kind, run.state] = run
        self._totals.update({key: self._totals.get(key, 0.0) + value for key, value in counted.items()})
        self.replace_totals(stated)

    def replace_totals(self, values: Mapping[TotalKey, float]) -> None:
        self._totals.update(values)

    def latest(self) -> Sequence[RunRecord]:
        return [self._runs[key] for key in sorted(self._runs)]

    def totals(self) -> Mapping[TotalKey, float]:
        return dict(self._totals)


@define
class InMemoryStatistics:
    _memory: Memory

    def typical_volumes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, TypicalVolume]:
        self._memory.snapshot()
        files = {
            symbol: [file for day, file in self._memory.files.items() if day.symbol == symbol] for symbol in symbols
        }
        return {symbol: _volume(found) for symbol, found in files.items() if found}

    def typical_volume(self) -> TypicalVolume | None:
        self._memory.snapshot()
        return _volume(list(self._memory.files.values())) if self._memory.files else None

    def summaries(self) -> Sequence[SymbolSummary]:
        known = self._memory.snapshot()
        return [self._summary(symbol, known) for symbol in sorted({day.symbol for day in known})]

    def recorded_files(self, symbol: Symbol) -> Mapping[TradingDate, RecordedFile]:
        known, files = self._memory.snapshot(), self._memory.files
        return {
            day.trading_date: RecordedFile(known[day].outcome, files[day].rows, files[day].size_bytes)
            for day in sorted(known)
            if day.symbol == symbol and day in files
        }

    def _summary(self, symbol: Symbol, known: Mapping[SymbolDay, IngestionCheckpoint]) -> SymbolSummary:
        days = sorted(day for day in known if day.symbol == symbol)
        results = [known[day] for day in days]
        counts = Counter(result.outcome for result in results)
        files = [self._memory.files[day] for day in days if day in self._memory.files]
        return SymbolSummary(
            symbol,
            days[0].trading_date,
            days[-1].trading_date,
            complete=counts[Outcome.COMPLETE],
            empty=counts[Outcome.EMPTY],
            partial=counts[Outcome.PARTIAL],
            failed=counts[Outcome.FAILED],
            bars=sum(file.rows for file in files),
            rejected=sum(result.rejected for result in results),
            size_bytes=sum(file.size_bytes for file in files),
        )


def _volume(files: Sequence[StoredSymbolDay]) -> TypicalVolume:
    bars = sum(file.rows for file in files)
    return TypicalVolume(bars / len(files), sum(file.size_bytes for file in files) / bars, len(files))


@define
class InMemoryLease:
    holder: str
    days: frozenset[SymbolDay]
    until: Timestamp
    is_pinned: bool = False


class InMemoryLeases:
    """The ``SymbolDayLeases`` of one holder."""

    def __init__(self, memory: Memory, holder: str) -> None:
        self._memory, self._leases, self._holder = memory, memory.leases, holder

    def position(self) -> int:
        return self._memory.changes

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        with self._memory.lock:
            self._memory.check_open()
            for number, lease in list(self._leases.items()):
                if lease.holder != self._holder and lease.until <= now and not lease.is_pinned:
                    del self._leases[number]
            settled = {day: self._memory.checkpoint(day) for day in self._changed(since)}
            settled = {d: r for d, r in settled.items() if d in wanted and r.settled_hours.covers(wanted[d])}
            others = [lease for lease in self._leases.values() if lease.holder != self._holder]
            open_days = frozenset(wanted) - settled.keys()
            held = open_days & frozenset[SymbolDay]().union(*(lease.days for lease in others))
            holders = frozenset(lease.holder for lease in others if lease.days & held)
            number = self._memory.latest_lease = self._memory.latest_lease + 1
            self._leases[number] = InMemoryLease(self._holder, frozenset(wanted) - settled.keys() - held, until)
            return LeasedDays(number, self._leases[number].days, settled, held, holders)

    def pin(self, lease: int, until: Timestamp) -> bool:
        with self._memory.lock:
            pinned = self._leases.get(lease)
            for each in self._leases.values():
                if pinned is not None and each.holder == pinned.holder:
                    each.until = max(each.until, until)
            if lease in self._leases:
                self._leases[lease].is_pinned = True
            return lease in self._leases

    def unpin(self, lease: int, until: Timestamp) -> None:
        with self._memory.lock:
            if lease in self._leases:
                self._leases[lease].is_pinned, self._leases[lease].until = False, until

    def release(self, lease: int) -> None:
        with self._memory.lock:
            self._leases.pop(lease, None)

    def count(self, now: Timestamp) -> int:
        with self._memory.lock:
            return sum(len(lease.days) for lease in self._leases.values() if lease.is_pinned or lease.until > now)

    def being_written(self, days: Collection[SymbolDay]) -> frozenset[SymbolDay]:
        with self._memory.lock:
            pinned = [lease.days for lease in self._leases.values() if lease.is_pinned]
            return frozenset(days) & frozenset[SymbolDay]().union(*pinned)

    def die(self) -> None:
        """Release all leases, as the end of a killed process does."""
        for number in [number for number, lease in self._leases.items() if lease.holder == self._holder]:
            del self._leases[number]

    def _changed(self, since: int | None) -> list[SymbolDay]:
        return [] if since is None else [day for day, at in self._memory.change_of.items() if at > since]
